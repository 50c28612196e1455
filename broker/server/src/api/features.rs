//! The features of the cluster (KIP-584): what ApiVersions tells and UpdateFeatures is asked to change.
//!
//! Of Kafka's list those alone that hold here; a feature comes with the APIs that it stands for. Levels are fixed: one binary,
//! one level.

/// One feature: its supported levels, and the one in force.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    pub level: i16,
}

pub const FEATURES: &[Feature] = &[
    // KIP-966: a partition without eligible leader replicas says so.
    Feature { name: "eligible.leader.replicas.version", min: 0, max: 1, level: 1 },
    // KIP-848: groups whose members only beat, and which the coordinator assigns.
    Feature { name: "group.version", min: 0, max: 1, level: 1 },
    // From 3.3-IV3, the oldest that Kafka 4 runs on, to 4.1-IV1: the schemas that this broker speaks are those of Kafka 4.1.
    Feature { name: "metadata.version", min: 7, max: 27, level: 27 },
    // KIP-932: share groups.
    Feature { name: "share.version", min: 0, max: 1, level: 1 },
    // KIP-890 whole: clients that know it add no partitions themselves, and get a new epoch with each end.
    Feature { name: "transaction.version", min: 0, max: 2, level: 2 },
];

pub fn find(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}
