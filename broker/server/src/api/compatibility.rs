//! docs/compatibility.md lists what the table of APIs says: this test holds the two together.
//!
//! `TIFO_BLESS=1 cargo test -p tifo-broker compatibility` writes the list anew.
#![allow(clippy::unwrap_used)]

use super::{ASKED_FOR, TABLE, Versions};
use std::{fmt::Write, fs, path::Path};

const BEGIN: &str = "<!-- The table of APIs; made from broker/server/src/api/mod.rs -->\n";
const END: &str = "<!-- End of the table -->\n";

fn table() -> String {
    let mut rows: Vec<_> = TABLE.iter().collect();
    rows.sort_by_key(|api| api.key as i16);
    let mut text = String::from("| key | API | versions | Apache Kafka 4.3.1 |\n|---|---|---|---|\n");
    for api in rows {
        let Versions { min, max } = api.advertised;
        let served = match api.served == api.advertised {
            true => format!("{min}-{max}"),
            false => format!("{min}-{max} (served: {}-{})", api.served.min, api.served.max),
        };
        let kafka = kafkas_range(api.key as i16);
        let served = match ASKED_FOR.contains(&api.key) {
            true => format!("{served}, told with `client.telemetry.enable`"),
            false => served,
        };
        writeln!(text, "| {} | {} | {served} | {}-{} |", api.key as i16, api.name, kafka.0, kafka.1).unwrap();
    }
    text
}

/// What Kafka 4.3.1 advertises (KRaft, one node, stock).
fn kafkas_range(key: i16) -> (i16, i16) {
    let line = KAFKA.iter().find(|(other, _, _)| *other == key);
    line.map(|(_, min, max)| (*min, *max)).unwrap_or_else(|| panic!("Kafka does not advertise API key {key}"))
}

#[rustfmt::skip]
const KAFKA: &[(i16, i16, i16)] = &[
    (0, 0, 13), (1, 4, 18), (2, 1, 11), (3, 0, 13), (8, 2, 10), (9, 1, 10), (10, 0, 6), (11, 0, 9), (12, 0, 4),
    (13, 0, 5), (14, 0, 5), (15, 0, 6), (16, 0, 5), (17, 0, 1), (18, 0, 4), (19, 2, 7), (20, 1, 6), (21, 0, 2),
    (22, 0, 5), (23, 2, 4), (24, 0, 5), (25, 0, 4), (26, 0, 5), (27, 1, 2), (28, 0, 5), (29, 1, 3), (30, 1, 3),
    (31, 1, 3), (32, 1, 4), (33, 0, 2), (34, 1, 2), (35, 1, 5), (36, 0, 2), (37, 0, 3), (38, 1, 3), (39, 1, 2),
    (40, 1, 2), (41, 1, 3), (42, 0, 2), (43, 0, 2), (44, 0, 1), (45, 0, 1), (46, 0, 0), (47, 0, 0), (48, 0, 1),
    (49, 0, 1), (50, 0, 0), (51, 0, 0), (55, 0, 2), (57, 0, 2), (60, 0, 2), (61, 0, 0), (64, 0, 0), (65, 0, 0),
    (66, 0, 2), (68, 0, 1), (69, 0, 1), (71, 0, 0), (72, 0, 0), (74, 0, 1), (75, 0, 0), (76, 1, 1), (77, 1, 1), (78, 1, 2), (79, 1, 2),
    (80, 0, 1), (81, 0, 0), (90, 0, 1), (91, 0, 0), (92, 0, 0),
];

#[test]
fn the_document_lists_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (present, after) = rest.split_once(END).unwrap();
    if present == table() {
        return;
    }
    assert!(std::env::var_os("TIFO_BLESS").is_some(), "docs/compatibility.md is behind: run with TIFO_BLESS=1");
    fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
}

#[test]
fn nothing_is_advertised_that_kafka_does_not() {
    for api in TABLE {
        let (min, max) = kafkas_range(api.key as i16);
        assert!(api.advertised.min >= min && api.advertised.max <= max, "{}", api.name);
        assert!(api.advertised.min <= api.served.min && api.served.max == api.advertised.max, "{}", api.name);
        assert_eq!(TABLE.iter().filter(|other| other.key == api.key).count(), 1, "{} has two rows", api.name);
    }
}
