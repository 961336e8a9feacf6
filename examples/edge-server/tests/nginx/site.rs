//! The site: real files from /usr/share/doc, copied so that a test may change them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DOCS: &str = "/usr/share/doc";
const LARGEST: u64 = 4 << 20;

/// A temporary tree. It goes when its test passes and stays for inspection when it fails.
pub(crate) struct Site {
    pub(crate) root: PathBuf,
}

impl Site {
    /// A tree with nothing in it but the folders nginx serves.
    pub(crate) fn new(test: &str) -> Self {
        let root =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{test}-{}", std::process::id()));
        // Left over by a failed run whose process id has come round again.
        let _ = fs::remove_dir_all(&root);
        for folder in ["long", "short", "slow", "gzip", "dav"] {
            fs::create_dir_all(root.join("www").join(folder)).expect("the target directory can be written");
        }
        Self { root }
    }

    /// Writes one file, `age` old.
    ///
    /// An age of some seconds keeps `Last-Modified` a strong validator (RFC 9110 §8.8.2.2).
    pub(crate) fn write(&self, target: &str, bytes: &[u8], age: Duration) {
        let path = self.root.join("www").join(target.trim_start_matches('/'));
        fs::write(&path, bytes).expect("the tree can be written");
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now() - age))
            .expect("the file was just written");
    }

    /// Copies up to `count` documents into `folder`; gives back target and bytes of each.
    ///
    /// They are spread over all of /usr/share/doc, since neighbours there are often the same licence.
    pub(crate) fn copy_docs(&self, folder: &str, count: usize) -> BTreeMap<String, Vec<u8>> {
        let mut documents = Vec::new();
        list(Path::new(DOCS), &mut documents);
        documents.sort();
        let step = (documents.len() / count).max(1);
        let mut copies = BTreeMap::new();
        for (number, document) in documents.iter().step_by(step).take(count).enumerate() {
            let bytes = fs::read(document).expect("documents are readable");
            // The extension decides the Content-Type; the rest of a real name may need escaping in a target.
            let extension = document
                .extension()
                .and_then(|extension| extension.to_str())
                .filter(|extension| extension.bytes().all(|byte| byte.is_ascii_alphanumeric()))
                .unwrap_or("txt");
            let target = format!("/{folder}/{number:04}.{extension}");
            self.write(&target, &bytes, Duration::from_secs(86_400));
            copies.insert(target, bytes);
        }
        copies
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Bytes that do not repeat within any block a cache might keep, so that a misplaced block shows.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("documentation folders are readable");
    for entry in entries.map(|entry| entry.expect("documentation folders are readable")) {
        let kind = entry.file_type().expect("it was just listed");
        if kind.is_dir() {
            list(&entry.path(), found);
        } else if kind.is_file() && entry.metadata().is_ok_and(|metadata| metadata.len() <= LARGEST) {
            found.push(entry.path());
        }
    }
}
