use std::sync::LazyLock;
use std::time::Duration;

use toml::de::DeTable;
use tower_edge::Select;

use super::report::Notes;
use super::*;

/// As it stands, which is right wherever it is.
const AS_IT_STANDS: &str = include_str!("../../edge.toml");

/// With what names files, too.
static DOCUMENTED: LazyLock<String> = LazyLock::new(|| {
    let line = |line: &'static str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        _ => line,
    };
    AS_IT_STANDS.lines().flat_map(|text| [line(text), "\n"]).collect()
});

/// What is wrong with a text, a line each: `line:column: reason`.
fn wrong(text: &str) -> String {
    let problems = Config::read(text).map_or_else(|problems| problems, |_| Vec::new());
    let report = Report::new("f", problems).to_string();
    report.lines().map(|line| line.trim_start_matches("f:")).collect::<Vec<_>>().join("\n")
}

/// The least that works, and something besides.
fn with(lines: &str) -> String {
    format!(
        "[origin.a]\nkind = \"demo\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[behavior]]\npath = \"*\"\norigin = \"a\"\n\
         {lines}\n"
    )
}

#[test]
fn the_documented_file_is_right_and_has_every_key() {
    for text in [AS_IT_STANDS, &DOCUMENTED] {
        if let Err(problems) = Config::read(text) {
            panic!("{}", Report::new("edge.toml", problems));
        }
    }
    let notes = Notes::new(&DOCUMENTED);
    let (table, _) = DeTable::parse_recoverable(&DOCUMENTED);
    read_root(Section::root(&table, &notes)).unwrap();
    let (asked, found) = (notes.asked.borrow(), notes.found.borrow());
    // Of a choice of names one form is shown, and its comment tells the others.
    let is_form = |key: &str| key.ends_with(".only") || key.ends_with(".all-but");
    let missing: Vec<_> = asked.difference(&found).filter(|key| !is_form(key)).collect();
    assert!(missing.is_empty(), "not in edge.toml: {missing:?}");
    assert!(asked.len() > 90, "{asked:?}");
}

#[test]
fn what_is_documented_as_default_is_the_default() {
    // Keys whose value is shown for another reason than that it is the default.
    let shown = Config::read(&DOCUMENTED).unwrap();
    let least = Config::read(&with("")).unwrap();
    assert_eq!(shown.capacity, least.capacity);
    assert_eq!(shown.max_fills, least.max_fills);
    assert_eq!(shown.limits, least.limits);
    assert_eq!((shown.proxies.fields, least.proxies.trusted.len()), (least.proxies.fields, 0));
    assert_eq!(shown.tariff.free_paths, least.tariff.free_paths);
    assert_eq!(shown.tariff.price, least.tariff.price);
    assert_eq!(shown.tariff.paths_in_progress, least.tariff.paths_in_progress);
    assert_eq!(shown.tariff.wildcards_in_progress, least.tariff.wildcards_in_progress);
    let usual = tower_edge::origin::GroupPolicy::default();
    assert_eq!(shown.groups[0].policy.statuses, usual.statuses);
    assert_eq!(shown.groups[0].policy.health, usual.health);
    let least = Config::read(&with("[distribution]\nredis = \"redis://127.0.0.1:6379\"")).unwrap();
    let (distribution, least) = (shown.distribution.unwrap(), least.distribution.unwrap());
    assert_eq!(distribution.namespace, least.namespace);
    assert_eq!(distribution.without_contact, least.without_contact);
    assert_eq!((distribution.copies, distribution.trusts_restarts), (least.copies, least.trusts_restarts));
    #[cfg(feature = "redis")]
    {
        let usual = tower_edge::distribution::bus::RedisSettings::default();
        assert_eq!((least.copies, least.trusts_restarts), (usual.copies, usual.trust_restarts));
    }
    let (pages, usual) = (&shown.behaviors[3].policy, tower_edge::CachePolicy::default());
    assert_eq!(pages.heuristic, usual.heuristic);
    assert_eq!(pages.normalise, usual.normalise);
    assert_eq!(pages.targeted, usual.targeted);
    assert_eq!(pages.tags, usual.tags);
    assert_eq!(pages.stale.error_statuses, usual.stale.error_statuses);
    assert_eq!(pages.stale.if_disconnected, usual.stale.if_disconnected);
    assert_eq!(pages.stale.retry_after, usual.stale.retry_after);
    assert_eq!(pages.ttl, tower_edge::Ttl { default: Some(Duration::from_secs(300)), ..usual.ttl });
    let limits = tower_edge::Limits { object_size: Some(16 << 20), ..usual.limits };
    assert_eq!(pages.limits, limits);
    let Kind::Upstream(eu) = &shown.origins.iter().find(|origin| origin.name == "eu").unwrap().kind else {
        panic!("eu is an upstream")
    };
    let text = with("[origin.eu]\nkind = \"upstream\"\nurl = \"http://eu.example.com\"");
    let Kind::Upstream(bare) = &Config::read(&text).unwrap().origins[1].kind.clone() else {
        panic!("eu is an upstream")
    };
    assert_eq!(eu, bare);
    let Kind::Bucket(files) = &shown.origins.iter().find(|origin| origin.name == "files").unwrap().kind
    else {
        panic!("files is a bucket")
    };
    let text = with("[origin.files]\nkind = \"bucket\"\nbucket = \"site-files\"");
    let Kind::Bucket(bare) = Config::read(&text).unwrap().origins.remove(1).kind else {
        panic!("files is a bucket")
    };
    let shown_besides = super::origins::Bucket {
        endpoint: files.endpoint.clone(),
        region: files.region.clone(),
        prefix: files.prefix.clone(),
        index: files.index.clone(),
        error_pages: files.error_pages.clone(),
        ..bare
    };
    assert_eq!(*files, shown_besides);
}

#[test]
fn values_are_what_they_say() {
    let config = Config::read(&DOCUMENTED).unwrap();
    assert_eq!(config.name, "fra-1");
    assert_eq!(config.listeners.len(), 2);
    assert!(config.listeners[0].tls.is_none() && config.listeners[1].tls.is_some());
    assert_eq!(config.groups[0].members, ["eu", "us"]);
    let paths: Vec<_> = config.behaviors.iter().map(|behavior| behavior.path.as_str()).collect();
    assert_eq!(paths, ["/assets/*", "/live/*", "/demo/*", "*"]);
    let key = &config.behaviors[3].policy.key;
    assert_eq!(key.cookies, Some(Select::None));
    assert_eq!(key.headers, Some(Select::Only(vec!["x-device".to_owned()])));
    assert_eq!(config.behaviors[0].policy.ttl.min, Duration::from_secs(3600));
}

#[test]
fn what_is_wrong_has_a_place_and_a_reason() {
    for (lines, expected) in [
        ("orgin = \"b\"", "8:1: unknown key \"orgin\""),
        ("methds = []", "8:1: unknown key \"methds\"; did you mean \"methods\"?"),
        ("https = \"redirct\"", "8:9: https: \"redirct\": did you mean \"redirect\"?"),
        ("https = true", "8:9: https: expected a string, found boolean"),
        ("methods = \"GET\"", "8:11: methods: expected a list of strings, found string"),
        ("methods = [\"GET\", \"CONNECT\"]", "8:19: methods: \"CONNECT\": CONNECT is for forward proxies"),
        ("preset = \"hsl\"", "8:10: preset: \"hsl\": did you mean \"hls\"?"),
        ("slice = \"1KiB\"", "8:9: slice: \"1KiB\": not from 4KiB to an eighth of the capacity"),
        ("slice = 5", "8:9: slice: expected a string, found integer"),
        ("prefetch = 17", "8:12: prefetch: not from 1 to 16"),
        ("policy = \"x\"", "8:10: policy: \"x\": there is no policy \"x\""),
        (
            "[origin.b]\nkind = \"upstream\"\nurl = \"https://b\"\nclient-key = \"b.key\"",
            "8:9: client-certificate and client-key need each other",
        ),
        (
            "[origin.b]\nkind = \"upstream\"\nurl = \"http://b\"\nca-file = \"ca.pem\"",
            "10:7: url: without https:// there are no certificates",
        ),
        ("strip-prefix = \"/a\"", "8:16: strip-prefix: not every path of \"*\" begins with it"),
        (
            "add-prefix = \"a/\"",
            "8:14: add-prefix: \"a/\": a prefix starts with '/' and does not end with it, such as /api",
        ),
        ("[[behavior]]\npath = \"/x\"\norigin = \"a\"", "9:8: path \"/x\" never matches: \"*\" is before it"),
        (
            "[distribution]\nredis = \"redis://r\"\nwithout-contact = \"refuse\"",
            "10:19: without-contact: \"refuse\": must be serve, revalidate:TIME or refuse:TIME, such as revalidate:5s",
        ),
        ("[cach]", "8:2: unknown key \"cach\"; did you mean \"cache\"?"),
        ("[cache]\ncapacity = \"1KiB\"", "9:12: capacity: \"1KiB\": under 64KiB"),
        ("[cache]\nmax-fills = 0", "9:13: max-fills: not from 1 to 1000000"),
        ("[cache]\nmax-fills = -1", "9:13: max-fills: not from 1 to 1000000"),
        (
            "[limits]\nhead-time = \"60\"",
            "9:13: head-time: \"60\": a duration is a whole number and ms, s, m, h or d",
        ),
        ("[limits]\nhead-size = \"1B\"", "9:13: head-size: \"1B\": not from 8KiB to 1MiB"),
        (
            "[[listener]]\nadress = \"x\"",
            "8:1: address is missing\n9:1: unknown key \"adress\"; did you mean \"address\"?",
        ),
        (
            "[[listener]]\naddress = \"x\"",
            "9:11: address: \"x\": not an address and a port, such as 127.0.0.1:8080 or [::]:443",
        ),
        ("[[listener]]\naddress = \"[::]:443\"\ntls = { key = \"k\" }", "10:7: certificate is missing"),
        (
            "[control]\naddress = \"0.0.0.0:1\"",
            "9:11: address: not a loopback address, so token-file is needed",
        ),
        ("[origin.b]\nkind = \"upstrem\"", "9:8: kind: \"upstrem\": did you mean \"upstream\"?"),
        ("[origin.b]\nurl = \"http://a\"", "8:9: kind is missing"),
        ("[origin.b]\nkind = \"upstream\"", "8:9: url is missing"),
        ("[origin.b]\nkind = \"demo\"\nurl = \"http://a\"", "10:1: unknown key \"url\""),
        (
            "[origin.b]\nkind = \"upstream\"\nurl = \"ftp://a\"",
            "10:7: url: \"ftp://a\": must start with http:// or https://",
        ),
        (
            "[origin.b]\nkind = \"bucket\"\nbucket = \"b\"\npart-size = \"1MiB\"",
            "11:13: part-size: \"1MiB\": not from 5MiB, under which S3 takes no part, to 1GiB",
        ),
        ("[distribution]\nredis = \"redis://a\"\ncopies = 101", "10:10: copies: not from 0 to 100"),
        (
            "[distribution]\nredis = \"redis://a\"\ntrust-restarts = \"yes\"",
            "10:18: trust-restarts: expected true or false, found string",
        ),
        (
            "[distribution]\nredis = \"redis://a\"\nat = [91, 0]",
            "10:6: at: latitude: 91 is not from -90 to 90",
        ),
        (
            "[distribution]\nredis = \"redis://a\"\n[[distribution.edge]]\nname = \"b\"\nat = [1]",
            "12:6: at: not latitude and longitude, as in [50.1, 8.7]",
        ),
        (
            "[distribution]\nredis = \"redis://a\"\nedge-token-file = \"t\"\nparents = [\"http://b\", \"http://b\"]",
            "11:24: parents: \"http://b\" is there twice",
        ),
        (
            "[distribution]\nredis = \"redis://a\"\n[[distribution.edge]]\nname = \"b\"\nat = [1, 2]\nurl = \"b.example\"",
            "13:7: [[distribution.edge]] url: \"b.example\": must start with http:// or https://",
        ),
        ("[group.g]\nmembers = [\"a\", \"b\"]", "9:17: there is no origin \"b\""),
        ("[group.g]\nmembers = [\"a\", \"a\"]", "9:17: \"a\" is there twice"),
        ("[group.g]\nmembers = []", "8:8: members is missing or empty"),
        ("[group.a]\nmembers = [\"a\"]", "8:8: \"a\" is an origin already"),
        ("[group.g]\nmembers = [\"a\"]\nstatuses = [200]", "10:13: statuses: not from 400 to 599"),
        ("[policy.p]\nttl = { min = \"2s\", max = \"1s\" }", "8:9: ttl.min: 2s is over ttl.max (1s)"),
        ("[policy.p]\nttl = \"2s\"", "9:7: ttl: expected a table, found string"),
        ("[policy.p]\nquery = {}", "9:9: query: \"all\", \"none\", { only = [...] } or { all-but = [...] }"),
        (
            "[policy.p]\nheaders = { only = [\"x device\"] }",
            "9:21: only: \"x device\": not the name of a header field",
        ),
        ("[policy.p]\ncookies = { all-but = [\"\"] }", "9:24: all-but: \"\": is empty"),
        ("[policy.p]\nquery = \"nne\"", "9:9: query: \"nne\": did you mean \"none\"?"),
        (
            "[policy.p]\nerror-ttl = { 4040 = \"1s\" }",
            "9:15: error-ttl: \"4040\" is not a status, such as 404",
        ),
        ("[policy.p]\n\"ümlaut\" = 1", "9:1: unknown key \"ümlaut\""),
        ("[policy.p]\nwrites = 'ü' ; ", "9:14: unexpected key or value, expected newline, `#`"),
    ] {
        assert_eq!(wrong(&with(lines)), expected, "{lines}");
    }
    assert!(wrong("").contains("there is no [[listener]]"));
    let first = |line: &str| wrong(&format!("{line}\n{}", with("")));
    assert_eq!(
        first("trusted-proxies = \"10.0.0.0/8\""),
        "1:19: trusted-proxies: expected a list of strings, found string"
    );
    assert_eq!(
        first("trusted-proxies = [\"::1/129\"]"),
        "1:20: trusted-proxies: \"::1/129\": a prefix has a length from 0 to 128"
    );
    assert_eq!(
        first("trusted-proxies = [\"::1\"]\nproxy-fields = \"forwrded\""),
        "2:16: proxy-fields: \"forwrded\": did you mean \"forwarded\"?"
    );
    assert_eq!(
        first("proxy-fields = \"forwarded\""),
        "1:16: proxy-fields: they count only from trusted-proxies, of which there are none"
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "nme = \"x\"\n[cache]\ncapacity = 5\n[limits]\nconnections = 0\n[origin.a]\nkind = \"dmo\"\n";
    assert_eq!(
        wrong(text).lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["1:1:", "1:1:", "1:1:", "3:12:", "5:15:", "7:8:"]
    );
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        wrong(&with("# ü\npolicy = { ü = 1 }")).lines().next().unwrap().split(' ').next(),
        Some("9:12:")
    );
}

#[test]
fn a_setting_that_moves_to_another_line_has_not_changed() {
    let text = DOCUMENTED.as_str();
    let moved = Config::read(&format!("# One more line.\n{text}")).unwrap();
    let config = Config::read(text).unwrap();
    assert!(config.control.is_some() && config.distribution.is_some());
    assert!(config.listeners.iter().any(|listener| listener.tls.is_some()));
    assert_eq!(moved.differs_where_fixed(&config), None);
    let renamed = Config::read(&text.replace("fra-1", "fra-2")).unwrap();
    assert_eq!(renamed.differs_where_fixed(&config), Some("name"));
}
