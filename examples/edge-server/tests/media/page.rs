//! The demonstration's film in a browser.

use crate::browser::Page;
use crate::processes::Edge;

#[tokio::test]
#[ignore = "needs chromium: tests/all.sh runs it"]
async fn the_page_plays_the_film_as_one_file_and_as_hls() {
    let edge = Edge::start(&["--preset", "hls", "--prefetch", "2"]);
    let mut page = Page::open(&format!("http://{}/film", edge.address)).await;
    page.until("document.readyState === 'complete'").await;
    for video in ["mp4", "hls"] {
        let video = format!("document.getElementById('{video}')");
        page.until(&format!("{video}.readyState >= 2")).await;
        assert_eq!(page.evaluate(&format!("Math.round({video}.duration)")).await, 16);
        assert_eq!(page.evaluate(&format!("{video}.videoWidth")).await, 480);
        page.evaluate(&format!("{video}.play()")).await;
        page.until(&format!("{video}.currentTime > 1")).await;
        // To what has not been loaded, and on from there.
        page.evaluate(&format!("{video}.currentTime = 11")).await;
        page.until(&format!("!{video}.seeking && {video}.currentTime > 11.5")).await;
        assert_eq!(page.evaluate(&format!("{video}.error === null")).await, true);
        page.evaluate(&format!("{video}.pause()")).await;
    }
    // What it shows of each segment is what the edge said of it. What lies between was not fetched.
    let shown = "[...document.querySelectorAll('#segments li')].map(item => item.className).join()";
    let shown = page.evaluate(shown).await;
    let shown: Vec<&str> = shown.as_str().unwrap().split(',').collect();
    assert_eq!(shown.len(), 8, "{shown:?}");
    assert!(
        shown.iter().any(|kinds| kinds.contains("hit")),
        "they are there before they are asked for: {shown:?}"
    );
    assert!(!shown[4].contains("hit") && !shown[4].contains("miss"), "{shown:?}");
    if let Some(file) = std::env::var_os("EDGE_SERVER_PICTURE") {
        std::fs::write(file, page.picture().await).unwrap();
    }
    assert_eq!(page.errors().await, [] as [serde_json::Value; 0]);
}
