//! Names that are in no table: what Kafka takes under other names, and what a typo was meant to be.

use super::broker_settings;

/// Beginnings of names that are free, and names that older versions of Kafka knew. Accepted, without effect.
const FOREIGN: &[&str] = &[
    "advertised.host.name",
    "advertised.port",
    "broker.id.generation.enable",
    "config.providers.",
    "confluent.",
    "control.plane.listener.name",
    "controller.quorum.bootstrap.servers",
    "host.name",
    "inter.broker.protocol.version",
    "listener.name.",
    "log.initial.task.delay.ms",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "password.encoder.",
    "reserved.broker.max.id",
    "rlmm.config.",
    "rsm.config.",
    "super.users",
    "unstable.api.versions.enable",
    "unstable.feature.versions.enable",
    "zookeeper.",
];

/// Whether Kafka, of this or an older version, takes the name although no row has it.
pub fn is_foreign(name: &str) -> bool {
    FOREIGN.iter().any(|known| name == *known || (known.ends_with('.') && name.starts_with(known)))
}

/// The known name that shares most with the wrong one, and by how many letters they differ.
pub fn nearest(wrong: &str) -> (&'static str, usize) {
    let distances = broker_settings().map(|setting| (setting.name, distance(wrong, setting.name)));
    distances.min_by_key(|(_, distance)| *distance).unwrap_or(("num.partitions", usize::MAX))
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_names_of_other_times() {
        assert_eq!(nearest("num.partition"), ("num.partitions", 1));
        assert_eq!(nearest("auto.create.topic.enable").0, "auto.create.topics.enable");
        assert!(is_foreign("zookeeper.connect") && is_foreign("listener.name.client.ssl.keystore.location"));
        assert!(!is_foreign("listener.names") && !is_foreign("super.users.x"));
    }
}
