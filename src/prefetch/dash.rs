//! The segments a media presentation description lists (ISO/IEC 23009-1): those of a `SegmentTemplate`, by number or by time.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::Uri;

use super::times::{date_time, duration};
use super::xml::{Event, Reader, attribute};
use super::{MOST_LISTED, Manifest, Track, bytes_of};
use crate::semantics::writes::resolve;

/// More segments of a track are not listed, of a live one without a timeline as many of the latest.
const MOST: u64 = 4_000;
const MOST_LIVE: u64 = 32;
const MOST_TRACKS: usize = 32;
/// Each has all that holds in the one around it: no deeper, and no more of them are read.
const MOST_LEVELS: usize = 8;
const MOST_OPENED: usize = 1_024;

/// What a description at `base` lists, as of `now`. Nothing, if it is none. Only what is on the origin of `base` is listed.
///
/// ```
/// use std::time::SystemTime;
/// use tower_edge::prefetch::dash;
///
/// let description = r#"<MPD mediaPresentationDuration="PT7S"><Period><AdaptationSet>
///     <SegmentTemplate media="$RepresentationID$/$Number%03d$.m4s" duration="4"/><Representation id="v"/>
/// </AdaptationSet></Period></MPD>"#;
/// let base = "http://a.example/film/manifest.mpd".parse().expect("a URI");
/// let manifest = dash(&base, description.as_bytes(), SystemTime::now());
/// assert_eq!(manifest.tracks[0].segments, ["http://a.example/film/v/001.m4s", "http://a.example/film/v/002.m4s"]);
/// ```
pub fn dash(base: &Uri, description: &[u8], now: SystemTime) -> Manifest {
    let Ok(text) = std::str::from_utf8(description) else { return Manifest::default() };
    let mut reading = Reading { now, ..Reading::new(base) };
    for event in Reader::new(text.trim_start_matches('\u{feff}')) {
        match event {
            Event::Open { name, attributes, is_empty } => {
                reading.open(name, attributes);
                if is_empty {
                    reading.close(name);
                }
            }
            Event::Close { name } => reading.close(name),
            Event::Text(text) => reading.text(&text),
        }
        if reading.is_over() {
            break;
        }
    }
    let manifest = reading.manifest;
    Manifest { live: manifest.live && !manifest.tracks.is_empty(), ..manifest }
}

struct Reading {
    now: SystemTime,
    manifest: Manifest,
    available: Option<SystemTime>,
    length: Option<Duration>,
    /// Of the period.
    start: Duration,
    period: Option<Duration>,
    /// What holds in the MPD, the period, the set and the representation that are open; the last also what is within.
    levels: Vec<Level>,
    /// Levels so far, and the bytes of the segments listed.
    opened: usize,
    listed: usize,
    in_base_url: bool,
}

#[derive(Clone)]
struct Level {
    base: Uri,
    has_base: bool,
    template: Template,
    id: String,
    bandwidth: String,
}

#[derive(Clone)]
struct Template {
    media: Option<String>,
    initialization: Option<String>,
    start_number: u64,
    duration: Option<u64>,
    timescale: u64,
    timeline: Vec<Run>,
}

/// A run of equally long segments (`S`).
#[derive(Clone, Copy)]
struct Run {
    at: Option<u64>,
    duration: u64,
    /// Times after the first; `None` for as long as there is time.
    repeated: Option<u64>,
}

impl Reading {
    fn new(base: &Uri) -> Self {
        let template = Template {
            media: None,
            initialization: None,
            start_number: 1,
            duration: None,
            timescale: 1,
            timeline: Vec::new(),
        };
        let outermost = Level {
            base: base.clone(),
            has_base: false,
            template,
            id: String::new(),
            bandwidth: String::new(),
        };
        Self {
            now: SystemTime::UNIX_EPOCH,
            manifest: Manifest::default(),
            available: None,
            length: None,
            start: Duration::ZERO,
            period: None,
            levels: vec![outermost],
            opened: 0,
            listed: 0,
            in_base_url: false,
        }
    }

    /// Whether there is more of something than is read.
    fn is_over(&self) -> bool {
        self.manifest.tracks.len() >= MOST_TRACKS
            || self.levels.len() > MOST_LEVELS
            || self.opened > MOST_OPENED
            || self.listed >= MOST_LISTED
    }

    fn open(&mut self, name: &str, attributes: &str) {
        let value = |name: &str| attribute(attributes, name);
        let number = |name: &str| value(name).and_then(|value| value.parse::<u64>().ok());
        match name {
            "MPD" => {
                self.manifest.live = value("type").as_deref() == Some("dynamic");
                self.available = value("availabilityStartTime").and_then(|time| date_time(&time));
                self.length = value("mediaPresentationDuration").and_then(|length| duration(&length));
            }
            "Period" => {
                self.start = value("start").and_then(|start| duration(&start)).unwrap_or_default();
                let rest = self.length.map(|length| length.saturating_sub(self.start));
                self.period = value("duration").and_then(|length| duration(&length)).or(rest);
            }
            _ => {}
        }
        let Some(above) = self.levels.last_mut() else { return };
        match name {
            "Period" | "AdaptationSet" | "Representation" => {
                let text = |name| value(name).map(Cow::into_owned).unwrap_or_default();
                let level =
                    Level { has_base: false, id: text("id"), bandwidth: text("bandwidth"), ..above.clone() };
                self.levels.push(level);
                self.opened += 1;
            }
            "BaseURL" => self.in_base_url = true,
            "SegmentTemplate" => {
                let template = &mut above.template;
                let text = |name| value(name).map(Cow::into_owned);
                template.media = text("media").or(template.media.take());
                template.initialization = text("initialization").or(template.initialization.take());
                template.start_number = number("startNumber").unwrap_or(template.start_number);
                template.duration = number("duration").or(template.duration);
                template.timescale =
                    number("timescale").filter(|scale| *scale > 0).unwrap_or(template.timescale);
            }
            "SegmentTimeline" => above.template.timeline.clear(),
            "S" => {
                if let Some(duration) = number("d").filter(|duration| *duration > 0)
                    && (above.template.timeline.len() as u64) < MOST
                {
                    let repeated = match value("r") {
                        Some(r) if r.starts_with('-') => None,
                        Some(r) => Some(r.parse().unwrap_or(0)),
                        None => Some(0),
                    };
                    above.template.timeline.push(Run { at: number("t"), duration, repeated });
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        // Of several, the first.
        if self.in_base_url
            && let Some(level) = self.levels.last_mut()
            && !level.has_base
            && let Some(base) = resolve(&level.base, text)
        {
            level.base = base;
            level.has_base = true;
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "BaseURL" => self.in_base_url = false,
            "Representation" => {
                if let Some(track) = self.levels.last().and_then(|level| self.track(level)) {
                    self.listed += track.segments.iter().map(bytes_of).sum::<usize>();
                    self.manifest.tracks.push(track);
                }
                self.leave();
            }
            "Period" | "AdaptationSet" => self.leave(),
            _ => {}
        }
    }

    fn leave(&mut self) {
        if self.levels.len() > 1 {
            self.levels.pop();
        }
    }

    fn track(&self, level: &Level) -> Option<Track> {
        let template = &level.template;
        let media = template.media.as_ref()?;
        let spelt =
            |template: &str, number, time| resolve(&level.base, &level.spelt(template, number, time)?);
        let init = template.initialization.as_ref().and_then(|init| spelt(init, 0, 0));
        let segments =
            if template.timeline.is_empty() { self.numbered(template) } else { self.timed(template) };
        let mut room = MOST_LISTED.saturating_sub(self.listed);
        let mut segments: Vec<Uri> = segments
            .into_iter()
            .map_while(|(number, time)| {
                let segment = spelt(media, number, time)?;
                room = room.checked_sub(bytes_of(&segment))?;
                Some(segment)
            })
            .collect();
        if segments.is_empty() {
            return None;
        }
        segments.splice(0..0, init.clone());
        Some(Track { init, segments })
    }

    /// Numbers and times of segments of one length.
    fn numbered(&self, template: &Template) -> Vec<(u64, u64)> {
        let Some(duration) = template.duration.filter(|duration| *duration > 0) else { return Vec::new() };
        let (first, count) = if self.manifest.live {
            // A segment is there when its end has come.
            let Some(elapsed) = self.elapsed() else { return Vec::new() };
            let there = template.units(elapsed) / duration;
            (there.saturating_sub(MOST_LIVE), there.min(MOST_LIVE))
        } else {
            (0, self.period.map_or(0, |period| template.units(period).div_ceil(duration)).min(MOST))
        };
        (first..first + count)
            .map(|n| (template.start_number.saturating_add(n), n.saturating_mul(duration)))
            .collect()
    }

    /// Numbers and times by a timeline.
    fn timed(&self, template: &Template) -> Vec<(u64, u64)> {
        let (mut segments, mut time) = (Vec::new(), 0_u64);
        let period = if self.manifest.live { self.elapsed() } else { self.period };
        let end = period.map(|period| template.units(period));
        for (index, run) in template.timeline.iter().enumerate() {
            time = run.at.unwrap_or(time);
            let until = template.timeline.get(index + 1).and_then(|next| next.at).or(end);
            let repeated = run.repeated.unwrap_or_else(|| {
                until.map_or(0, |until| (until.saturating_sub(time) / run.duration).saturating_sub(1))
            });
            for _ in 0..=repeated.min(MOST) {
                segments.push((template.start_number.saturating_add(segments.len() as u64), time));
                time = time.saturating_add(run.duration);
            }
            if segments.len() as u64 >= MOST {
                break;
            }
        }
        segments
    }

    /// Since the period began, of a live presentation.
    fn elapsed(&self) -> Option<Duration> {
        self.now.duration_since(self.available?.checked_add(self.start)?).ok()
    }
}

impl Template {
    /// A time in units of the timescale.
    fn units(&self, time: Duration) -> u64 {
        let units = time.as_millis().saturating_mul(u128::from(self.timescale)) / 1000;
        u64::try_from(units).unwrap_or(u64::MAX)
    }
}

impl Level {
    /// A template with its identifiers replaced (ISO/IEC 23009-1 §5.3.9.4.4).
    fn spelt(&self, template: &str, number: u64, time: u64) -> Option<String> {
        let mut spelt = String::with_capacity(template.len() + 16);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            let (identifier, after) = after.split_once('$')?;
            spelt += before;
            rest = after;
            let (name, format) = identifier.split_once('%').unwrap_or((identifier, "0d"));
            let width = format.strip_suffix('d')?.trim_start_matches('0');
            let width = if width.is_empty() {
                0
            } else {
                width.parse::<usize>().ok().filter(|width| *width <= 32)?
            };
            match name {
                "" => spelt.push('$'),
                "RepresentationID" => spelt += &self.id,
                "Bandwidth" => spelt += &format!("{:0>width$}", self.bandwidth),
                "Number" => spelt += &format!("{number:0width$}"),
                "Time" => spelt += &format!("{time:0width$}"),
                _ => return None,
            }
        }
        spelt += rest;
        Some(spelt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(description: &str, now: u64) -> (bool, Vec<Vec<String>>) {
        let base = "http://a.example/film/manifest.mpd".parse().unwrap();
        let manifest = dash(&base, description.as_bytes(), SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        let path = |uri: &Uri| uri.path_and_query().unwrap().to_string();
        (
            manifest.live,
            manifest.tracks.iter().map(|track| track.segments.iter().map(path).collect()).collect(),
        )
    }

    #[test]
    fn a_film_by_numbers_with_tracks_side_by_side() {
        let description = r#"<?xml version="1.0" encoding="utf-8"?>
            <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT0H0M9.5S">
              <Period id="0" start="PT0.0S">
                <AdaptationSet contentType="video">
                  <SegmentTemplate timescale="1000" duration="4000" startNumber="1"
                      initialization="init-stream$RepresentationID$.m4s"
                      media="chunk-$RepresentationID$-$Number%05d$.m4s?a=1&amp;b=2"/>
                  <Representation id="0" bandwidth="800000"/>
                  <Representation id="1" bandwidth="400000"><BaseURL>low/</BaseURL></Representation>
                </AdaptationSet>
                <AdaptationSet contentType="audio">
                  <BaseURL>http://elsewhere.example/</BaseURL>
                  <Representation id="2"><SegmentTemplate duration="10" media="/audio/$Bandwidth$$$$Number$.m4s"/></Representation>
                </AdaptationSet>
              </Period>
            </MPD>"#;
        let (live, tracks) = paths(description, 0);
        assert!(!live);
        assert_eq!(
            tracks,
            [
                vec![
                    "/film/init-stream0.m4s",
                    "/film/chunk-0-00001.m4s?a=1&b=2",
                    "/film/chunk-0-00002.m4s?a=1&b=2",
                    "/film/chunk-0-00003.m4s?a=1&b=2",
                ],
                vec![
                    "/film/low/init-stream1.m4s",
                    "/film/low/chunk-1-00001.m4s?a=1&b=2",
                    "/film/low/chunk-1-00002.m4s?a=1&b=2",
                    "/film/low/chunk-1-00003.m4s?a=1&b=2",
                ],
                vec!["/audio/$1.m4s"],
            ]
        );
    }

    #[test]
    fn a_live_presentation_lists_what_is_there_by_now() {
        let description = r#"<MPD type="dynamic" availabilityStartTime="1970-01-01T00:16:40Z"><Period start="PT0S"><AdaptationSet>
            <SegmentTemplate timescale="90000" duration="180000" startNumber="7" media="$Number$.m4s" initialization="i.mp4"/>
            <Representation id="v"/></AdaptationSet></Period></MPD>"#;
        let last = |now| {
            let (live, tracks) = paths(description, now);
            assert_eq!(live, !tracks.is_empty());
            tracks.first().and_then(|track| track.last().cloned())
        };
        assert_eq!(last(1_001), None);
        assert_eq!(last(1_002).as_deref(), Some("/film/7.m4s"));
        assert_eq!(last(1_009).as_deref(), Some("/film/10.m4s"));
        assert_eq!(last(999), None);
        // The initialization section, and the latest.
        assert_eq!(paths(description, 1_000_000).1[0].len(), 1 + MOST_LIVE as usize);
    }

    #[test]
    fn a_timeline_gives_numbers_and_times() {
        let with = |timeline: &str, media: &str| {
            let description = format!(
                r#"<MPD mediaPresentationDuration="PT10S"><Period><AdaptationSet><SegmentTemplate timescale="10" media="{media}">
                <SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate><Representation id="v"/></AdaptationSet></Period></MPD>"#
            );
            paths(&description, 0).1.into_iter().next().unwrap_or_default()
        };
        let timeline = r#"<S t="100" d="20" r="1"/><S d="15"/><S t="200" d="10"/>"#;
        assert_eq!(with(timeline, "$Time$"), ["/film/100", "/film/120", "/film/140", "/film/200"]);
        assert_eq!(with(timeline, "$Number$"), ["/film/1", "/film/2", "/film/3", "/film/4"]);
        assert_eq!(
            with(r#"<S t="0" d="20" r="-1"/>"#, "$Time$"),
            ["/film/0", "/film/20", "/film/40", "/film/60", "/film/80"]
        );
        assert!(with(r#"<S t="0" d="0" r="5"/>"#, "$Time$").is_empty());
        assert!(with(r#"<S d="1" r="99999999999"/>"#, "$Time$").len() <= MOST as usize + 1);
        for media in ["$Unknown$", "$Number%d.m4s", "$Number%x$", "$Number%099d$"] {
            assert!(with(timeline, media).is_empty(), "{media}");
        }
    }

    #[test]
    fn numbers_without_measure_lead_nowhere() {
        let (most, long) = (u64::MAX.to_string(), "10000000000000000000".to_owned());
        for kind in ["static", "dynamic"] {
            for (length, start, scale, first) in
                [(&long, "0", "1", &most), (&long, &long, &most, &most), (&long, "0", &most, &most)]
            {
                for timeline in [
                    "",
                    "<SegmentTimeline><S d='1' r='-1'/><S t='MOST' d='MOST' r='MOST'/></SegmentTimeline>",
                ] {
                    let description = format!(
                        "<MPD type='{kind}' availabilityStartTime='1970-01-01T00:00:00Z' mediaPresentationDuration='PT{length}S'>\
                        <Period start='PT{start}S'><AdaptationSet><SegmentTemplate timescale='{scale}' duration='1' \
                        startNumber='{first}' media='$Number$'>{timeline}</SegmentTemplate><Representation id='v'/>\
                        </AdaptationSet></Period></MPD>"
                    );
                    let (_, tracks) = paths(&description.replace("MOST", &most), 1_767_225_600);
                    assert!(tracks.iter().all(|track| track.len() <= 2 * MOST as usize + 2), "{description}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_description_lists_nothing() {
        for text in [
            "",
            "<",
            "<MPD",
            "<MPD><Period></Period></Period></MPD></x>",
            "#EXTM3U\n",
            "<MPD type='dynamic'/>",
        ] {
            assert_eq!(paths(text, 0), (false, Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_short_description_cannot_list_more_than_is_held() {
        let set = |media: &str| {
            format!(
                "<AdaptationSet><SegmentTemplate media='{media}' duration='1'/><Representation id='v'/></AdaptationSet>"
            )
        };
        let of = |inner: &str| {
            let text = format!("<MPD mediaPresentationDuration='PT4000S'><Period>{inner}</Period></MPD>");
            dash(&"http://a.example/".parse().unwrap(), text.as_bytes(), SystemTime::UNIX_EPOCH)
        };
        let long = of(&set(&"a".repeat(30_000)).repeat(20));
        let held: usize = long.tracks.iter().flat_map(|track| &track.segments).map(bytes_of).sum();
        assert!((MOST_LISTED / 2..=MOST_LISTED).contains(&held), "{held}");
        // Too deep, and too many that list nothing.
        assert_eq!(of(&format!("{}{}", "<Period>".repeat(8), set("a"))).tracks, []);
        assert_eq!(of(&format!("{}{}", "<Representation/>".repeat(2_000), set("a"))).tracks, []);
        assert_eq!(of(&format!("{}{}", "<Representation/>".repeat(500), set("a"))).tracks.len(), 1);
    }
}
