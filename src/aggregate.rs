//! `tifo aggregate rebuild`: old events counted again, by the same engine, while the aggregate itself goes on.
//!
//! A rebuild is an aggregate of its own, named after its topic: the same definition with another `into` and a `begin`. The running
//! tifo counts; this program declares it over HTTP, shows how far it is, and removes it again. Broken off and begun again under
//! the same words it goes on where it was, as every aggregate does.

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

use crate::cli::RebuildArgs;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the rebuild has to get past, as it was when it began.
struct Goal {
    /// Where each partition of the raw topic ended.
    ends: Vec<i64>,
    records: u64,
}

pub fn rebuild(args: RebuildArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the async runtime")?;
    runtime.block_on(Rebuild::new(args)?.run())
}

struct Rebuild {
    args: RebuildArgs,
    client: reqwest::Client,
}

impl Rebuild {
    fn new(args: RebuildArgs) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build().context("the HTTP client")?;
        Ok(Self { args, client })
    }

    async fn run(&self) -> anyhow::Result<()> {
        self.declare(&self.definition().await?).await?;
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len} records  {per_sec}  {eta} left  {wide_msg}")
        {
            bar.set_style(style);
        }
        let status = tokio::select! {
            status = self.watch(&bar) => status?,
            _ = tokio::signal::ctrl_c() => bail!("broken off; the same command goes on with it"),
        };
        bar.finish_and_clear();
        if !self.args.keep {
            self.remove().await?;
        }
        println!("{}", summary(&self.args, &status));
        Ok(())
    }

    /// The aggregate's own, with another name, another output and a beginning.
    async fn definition(&self) -> anyhow::Result<Value> {
        let mut definition = self.get(&self.args.name).await?["definition"].take();
        let fields = definition.as_object_mut().context("the server shows no definition")?;
        ["late", "bad", "early"].into_iter().for_each(|field| drop(fields.remove(field)));
        fields.insert("name".to_owned(), json!(self.args.into));
        fields.insert("into".to_owned(), json!(self.args.into));
        if let Some(from) = &self.args.from {
            fields.insert("begin".to_owned(), json!(from));
        }
        Ok(definition)
    }

    /// Until everything is read that was there at the beginning, and its windows are closed.
    async fn watch(&self, bar: &ProgressBar) -> anyhow::Result<Value> {
        let (mut goal, mut reached_at) = (None, None);
        loop {
            let status = self.get(&self.args.into).await?;
            if status["state"] == "running" {
                let goal = goal.get_or_insert_with(|| Goal::of(&status));
                bar.set_length(goal.records);
                bar.set_position(goal.records.saturating_sub(goal.left(&status)));
                if goal.left(&status) == 0 {
                    // The newest window that may hold some of it is the one with the highest event time so far.
                    let newest = *reached_at.get_or_insert_with(|| newest_event(&status));
                    if is_closed(&status, newest) {
                        return Ok(status);
                    }
                }
            }
            bar.set_message(status["error"].as_str().or(status["warning"].as_str()).unwrap_or_default().to_owned());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn get(&self, name: &str) -> anyhow::Result<Value> {
        let answer = self.client.get(self.url(name)).send().await.with_context(|| self.unreachable())?;
        Ok(checked(answer).await?.json().await?)
    }

    async fn declare(&self, definition: &Value) -> anyhow::Result<()> {
        let url = format!("{}/v1/aggregates", self.args.server.trim_end_matches('/'));
        checked(self.client.post(url).json(definition).send().await?).await.map(drop)
    }

    async fn remove(&self) -> anyhow::Result<()> {
        checked(self.client.delete(self.url(&self.args.into)).send().await?).await.map(drop)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/v1/aggregates/{name}", self.args.server.trim_end_matches('/'))
    }

    fn unreachable(&self) -> String {
        format!("no tifo answers at {} (--server)", self.args.server)
    }
}

/// A refusal in the server's words.
async fn checked(answer: Response) -> anyhow::Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    match problem["detail"].as_str() {
        Some(detail) => bail!("{detail}"),
        None if status == StatusCode::NOT_FOUND => bail!("the server has no aggregator"),
        None => bail!("the server answers {status}"),
    }
}

impl Goal {
    fn of(status: &Value) -> Self {
        let ends = partitions(status).map(|partition| number(partition, "high_watermark")).collect();
        let mut goal = Self { ends, records: 0 };
        goal.records = goal.left(status);
        goal
    }

    /// Records that are still to be read.
    fn left(&self, status: &Value) -> u64 {
        let left = |(end, partition): (&i64, &Value)| (end - number(partition, "next_offset")).max(0);
        self.ends.iter().zip(partitions(status)).map(left).sum::<i64>().unsigned_abs()
    }
}

fn partitions(status: &Value) -> impl Iterator<Item = &Value> {
    status["partitions"].as_array().into_iter().flatten()
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or(0)
}

fn newest_event(status: &Value) -> Option<i64> {
    partitions(status).filter_map(|partition| partition["watermark"].as_i64()).max()
}

fn is_closed(status: &Value, newest: Option<i64>) -> bool {
    let closed_until = status["closed_until"].as_i64();
    status["open_window_count"] == 0 || closed_until.is_some_and(|until| newest.is_none_or(|newest| until > newest))
}

fn summary(args: &RebuildArgs, status: &Value) -> String {
    let (counted, late, bad, skipped) =
        (number(status, "counted"), number(status, "late"), number(status, "bad"), number(status, "skipped"));
    format!(
        "{}: {counted} events counted, {late} late, {bad} bad, {skipped} from before; {} decisions",
        args.into, status["decisions"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(next: [i64; 2], closed_until: Value, open: u64) -> Value {
        json!({
            "closed_until": closed_until, "open_window_count": open,
            "partitions": [
                {"next_offset": next[0], "high_watermark": 10, "watermark": 7_000},
                {"next_offset": next[1], "high_watermark": 20, "watermark": null},
            ],
        })
    }

    #[test]
    fn it_ends_when_what_was_there_is_read_and_closed() {
        let goal = Goal::of(&status([4, 0], Value::Null, 3));
        assert_eq!((goal.records, goal.left(&status([30, 20], Value::Null, 1))), (26, 0));
        let newest = newest_event(&status([30, 20], Value::Null, 1));
        assert_eq!(newest, Some(7_000));
        assert!(!is_closed(&status([30, 20], json!(7_000), 1), newest));
        assert!(is_closed(&status([30, 20], json!(7_001), 1), newest));
        assert!(is_closed(&status([30, 20], Value::Null, 0), newest));
    }
}
