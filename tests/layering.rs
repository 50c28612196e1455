//! The layering of docs/architecture.md: which room may depend on which, and who may name a library.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

/// Room, the rooms above it that it may name.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("broker/storage", &[]),
    ("broker/coordinator", &[]),
    ("broker/server", &["tifo-storage", "tifo-coordinator"]),
    ("aggregator", &["tifo-storage", "tifo-broker"]),
    ("http-gateway", &["tifo-storage", "tifo-broker"]),
    ("mqtt-gateway", &["tifo-storage", "tifo-broker"]),
    ("remote", &["tifo-storage", "tifo-broker"]),
];

/// Library, the only room that names it.
const OWNED: [(&str, &str); 7] = [
    ("axum", "http-gateway"),
    ("rumqttd", "mqtt-gateway"),
    ("rmqtt-codec", "mqtt-gateway"),
    ("kafka-protocol", "broker/server"),
    ("sonic-rs", "aggregator"),
    ("crc32c", "broker/storage"),
    ("rdkafka", "remote"),
];

/// Names in `[dependencies]` of a room; what only its tests use does not count.
fn dependencies(room: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(room).join("Cargo.toml")).unwrap();
    let own = manifest.split("[dependencies]").nth(1).unwrap();
    let own = own.split("\n[").next().unwrap();
    own.lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn rooms_depend_only_on_rooms_above_them() {
    for (room, allowed) in ALLOWED {
        for name in dependencies(room).iter().filter(|name| name.starts_with("tifo-")) {
            assert!(allowed.contains(&name.as_str()), "{room} must not depend on {name}");
        }
    }
}

#[test]
fn a_library_at_arms_length_is_named_by_one_room() {
    for (room, _) in ALLOWED {
        let names = dependencies(room);
        for (library, owner) in OWNED {
            assert!(room == owner || !names.contains(library), "{room} names {library}, which belongs to {owner}");
        }
    }
}

#[test]
fn only_the_clock_reads_the_systems_clock() {
    for (room, _) in ALLOWED {
        for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(room).join("src")) {
            let text = fs::read_to_string(&file).unwrap();
            let own = text.split("#[cfg(test)]").next().unwrap();
            let excused = file.ends_with("clock.rs");
            assert!(excused || !own.contains("SystemTime::now"), "{} reads the system's clock", file.display());
        }
    }
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
