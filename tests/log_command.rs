//! `tifo log check` and `repair` as a user runs them: what they print, their exit codes, and that they keep off a running broker.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command, sync::Arc};
use tifo_broker::DataDirLock;
use tifo_storage::{
    Log, LogConfig, Origin,
    file_system::RealFileSystem,
    record_batch::{BatchBuilder, Compression},
};

const NOW_MS: i64 = 1_721_046_896_000;

/// A data directory with two closed partitions of ten batches each.
fn data_dir() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join(".lock"), "").unwrap();
    for partition in ["taps-0", "taps-1"] {
        let dir = data.path().join(partition);
        let (mut log, _) = Log::open(Arc::new(RealFileSystem), &dir, LogConfig::default(), NOW_MS).unwrap();
        for _ in 0..10 {
            let mut batch = BatchBuilder::new(Compression::None);
            batch.push(NOW_MS, Some(b"key"), Some(&[7; 100]), &[]);
            log.append(&batch.build(), Origin::Client, 0, NOW_MS).unwrap();
        }
        log.close().unwrap();
    }
    data
}

fn tifo_log(arguments: &[&str], dir: &Path) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tifo")).arg("log").args(arguments).arg(dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

#[test]
fn damage_is_told_and_mended() {
    let data = data_dir();
    let (code, told, _) = tifo_log(&["check"], data.path());
    assert_eq!(
        (code, told.lines().last()),
        (0, Some("2 partitions: 2 all right, 0 that the broker mends by itself, 0 damaged"))
    );
    let log = data.path().join("taps-1/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[100] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let (code, told, _) = tifo_log(&["check", "--json"], data.path());
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &json["partitions"][1]["findings"][0]["position"]), (4, &serde_json::json!(0)));
    assert_eq!(fs::read(&log).unwrap(), bytes);
    let (code, told, _) = tifo_log(&["repair"], data.path());
    assert!(
        code == 0 && told.contains("1 offsets lost their records") && told.contains("kept aside: "),
        "{code}: {told}"
    );
    let (code, told, _) = tifo_log(&["check", "--json"], &data.path().join("taps-1"));
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &json["partitions"][0]["records"]), (0, &serde_json::json!(9)));
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let data = data_dir();
    let _broker = DataDirLock::take(data.path()).unwrap();
    for dir in [data.path().to_owned(), data.path().join("taps-0")] {
        let (code, _, error) = tifo_log(&["repair"], &dir);
        assert!(code == 1 && error.contains("is in use by another process"), "{code}: {error}");
    }
}

#[test]
fn a_directory_without_partitions_is_an_error() {
    let empty = tempfile::tempdir().unwrap();
    let (code, _, error) = tifo_log(&["check"], empty.path());
    assert!(code == 1 && error.contains("holds no partition"), "{code}: {error}");
}
