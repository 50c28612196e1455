//! The log of a process that has none: a node of the fan-out takes no taps, but answers probes and WebSockets.

use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::BTreeMap, time::Duration};
use tifo_broker::{
    LogClient,
    client::{ClientError, Fetched, TopicSpec},
};

#[derive(Debug)]
pub struct NoLog;

fn none<T>() -> Result<T, ClientError> {
    Err(ClientError::Refused("this process has no log".to_owned()))
}

#[async_trait]
impl LogClient for NoLog {
    async fn ensure_topic(&self, _: &TopicSpec) -> Result<(), ClientError> {
        none()
    }

    async fn partitions(&self, _: &str) -> Result<i32, ClientError> {
        none()
    }

    async fn append(&self, _: &str, _: i32, _: Bytes) -> Result<i64, ClientError> {
        none()
    }

    async fn fetch(&self, _: &str, _: i32, _: i64, _: usize, _: Duration) -> Result<Fetched, ClientError> {
        none()
    }

    async fn offsets(&self, _: &str, _: i32) -> Result<(i64, i64), ClientError> {
        none()
    }

    async fn commit(&self, _: &str, _: &str, _: &[(i32, i64)]) -> Result<(), ClientError> {
        none()
    }

    async fn committed(&self, _: &str, _: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        none()
    }
}
