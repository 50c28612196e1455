#![allow(clippy::unwrap_used)]
use super::*;

fn load_file(text: &str) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tifo.toml");
    std::fs::write(&path, text).unwrap();
    load(&ServeArgs { config: Some(path), ..ServeArgs::default() })
}

fn refusal(text: &str) -> String {
    load_file(text).err().map(|error| error.to_string()).unwrap()
}

#[test]
fn a_file_overrides_defaults_and_a_flag_overrides_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tifo.toml");
    std::fs::write(&path, "data_dir = '/from/file'\n[http]\nlisten = '127.0.0.1:1'\nflush_events = 7").unwrap();
    let http = Some("127.0.0.1:2".parse().unwrap());
    let loaded = load(&ServeArgs { config: Some(path), http, ..ServeArgs::default() }).unwrap();
    assert_eq!(loaded.settings.data_dir, Path::new("/from/file"));
    assert_eq!(loaded.settings.http.listen.port(), 2);
    assert_eq!(loaded.settings.http.flush_events, 7);
    let described = loaded.describe().unwrap();
    let line = |name: &str| described.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("http.listen").ends_with("# flag"), "{described}");
    assert!(line("http.flush_events = 7").ends_with("tifo.toml"), "{described}");
    assert!(line("log = ").ends_with("# default"), "{described}");
}

#[test]
fn kafkas_dotted_names_are_one_setting_however_they_are_written() {
    for text in ["[kafka]\nnum.partitions = 3", "[kafka]\n\"num.partitions\" = 3", "kafka.num.partitions = 3"] {
        assert_eq!(load_file(text).unwrap().settings.kafka.settings["num.partitions"], "3", "{text}");
    }
}

#[test]
fn a_wrong_name_is_refused_with_the_nearest_right_one() {
    assert!(refusal("[http]\nflush_evnts = 5").contains("did you mean `flush_events`"));
    assert!(refusal("[kafka]\nnum.partition = 5").contains("did you mean num.partitions"));
    assert!(refusal("dta_dir = 'x'").contains("did you mean `data_dir`"));
}

#[test]
fn a_wrong_type_names_the_setting_and_the_file() {
    let said = refusal("[kafka]\nnum.partitions = 'many'");
    assert!(said.contains("num.partitions") && said.contains("tifo.toml"), "{said}");
}

#[test]
fn ephemeral_means_any_port_unless_a_flag_names_one() {
    let kafka = Some("127.0.0.1:1234".parse().unwrap());
    let loaded = load(&ServeArgs { ephemeral: true, kafka, ..ServeArgs::default() }).unwrap();
    assert_eq!(loaded.settings.kafka.settings["listeners"], "127.0.0.1:1234");
    assert_eq!(loaded.settings.http.listen.port(), 0);
}

#[test]
fn a_node_that_follows_another_has_no_log() {
    let role = Some(crate::cli::MqttRole::Subscribe);
    let node = ServeArgs { mqtt_role: role, upstream: Some("127.0.0.1:1".into()), ..ServeArgs::default() };
    assert!(load(&node).err().map(|error| error.to_string()).unwrap().contains("--roles mqtt"));
    let loaded = load(&ServeArgs { roles: Some(vec![Role::Mqtt]), cluster: Some("east".into()), ..node }).unwrap();
    let mqtt = loaded.settings.mqtt_config();
    assert_eq!((mqtt.upstream.as_deref(), mqtt.cluster.as_str()), (Some("127.0.0.1:1"), "east"));
    assert!(loaded.settings.is_follower());
    assert!(loaded.describe().unwrap().contains("mqtt.role = \"subscribe\"  # flag"));
}

#[test]
fn durability_is_told_and_can_be_set() {
    let described = load(&ServeArgs::default()).unwrap().describe().unwrap();
    assert!(described.contains("kafka.durability = \"page-cache\"  # default"), "{described}");
    let durability = Some(crate::cli::Durability::Fsync);
    let loaded = load(&ServeArgs { durability, ..ServeArgs::default() }).unwrap();
    assert_eq!(loaded.settings.kafka.settings["durability"], "fsync");
    assert!(refusal("[kafka]\ndurability = 'fast'").contains("page-cache, fsync"));
}

const POLL: &str = r#"
[[aggregate]]
name = "poll"
from = "votes"
into = "results"
window = { cumulate = "10m", every = "2s" }
group_by = ["choice"]
measure = { count = "count()", users = "distinct(user_id)" }
dedup = { by = ["user_id", "poll_id"], keep = "last" }
limit = { by = "user_id", max = 20 }
"#;

#[test]
fn aggregates_are_declared_beside_the_streams_as_tables_or_as_sql() {
    let sql = "CREATE AGGREGATE quiz INTO answers AS SELECT a, COUNT(*) FROM taps WINDOW TUMBLING (SIZE 2 SECONDS) GROUP BY a";
    let settings = load_file(&format!("aggregate_sql = ['{sql}']\n{POLL}")).unwrap().settings;
    let names: Vec<_> = settings.aggregates().unwrap().into_iter().map(|aggregate| aggregate.name).collect();
    assert_eq!(names, ["emoji", "poll", "quiz"]);
}

#[test]
fn a_wrong_aggregate_is_refused_in_words() {
    let cases = [
        ("group_by", "grup_by", "did you mean `group_by`"),
        ("cumulate", "cumulte", "a window is"),
        ("10m", "10 minutes", "is not a duration"),
        ("distinct(", "distnct(", "there is no function `distnct`; did you mean `distinct`?"),
        ("\"poll\"", "\"emoji\"", "two aggregates are named `emoji`"),
        ("results", "emoji-counts", "another one writes to topic `emoji-counts`"),
        ("results", "votes", "topic `votes` is already used as `from`"),
    ];
    for (from, to, expected) in cases {
        let said = refusal(&POLL.replacen(from, to, 1));
        assert!(said.contains(expected), "{said}");
    }
    assert!(refusal("aggregate_sql = ['CREATE TABLE x']").contains("found `TABLE` where AGGREGATE belongs"));
}

#[test]
fn the_demo_declares_a_poll_whose_rounds_are_its_aggregates_windows() {
    let settings = load_file(include_str!("../../scripts/demo.toml")).unwrap().settings;
    assert_eq!(settings.stream[0].aggregate, Definition::emoji(), "the demo's crowd is the default one");
    let config = settings.http_config();
    config.check().unwrap();
    let poll = config.streams[1].poll.as_ref().unwrap();
    assert_eq!((poll.rounds.round_ms, poll.rounds.opens_ms, poll.rounds.may_change), (60_000, None, true));
    assert!(config.streams[0].poll.is_none());
}

#[test]
fn with_the_log_elsewhere_all_but_the_broker_runs_here() {
    let loaded = load_file("bootstrap = 'kafka-1:9092,kafka-2:9092'\n[cluster]\nlinger.ms = '5'").unwrap();
    assert_eq!(loaded.settings.roles, BTreeSet::from([Role::Aggregator, Role::Http, Role::Mqtt]));
    assert_eq!(loaded.settings.cluster["linger.ms"], "5");
    let described = loaded.describe().unwrap();
    let roles = described.lines().find(|line| line.starts_with("roles")).unwrap();
    assert!(roles.ends_with("# bootstrap"), "{described}");
    assert!(refusal("bootstrap = 'kafka:9092'\nroles = ['broker', 'http']").contains("no broker runs here"));
    assert!(refusal("bootstrap = 'kafka'").contains("HOST:PORT"));
    assert!(refusal("roles = ['http']").contains("--bootstrap HOST:PORT"));
}
