//! What a replay asks of the gateway, and how its answers are read.

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};

use super::{AckMode, ReplayArgs};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);
/// The longest that a Retry-After is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The gateway at the other end.
#[derive(Debug)]
pub struct Server {
    client: Client,
    base: Url,
    stream: String,
    patience: Duration,
}

/// The stream as the gateway describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamInfo {
    name: String,
    pub partitions: i32,
    key: Vec<String>,
}

/// A request that was answered, or not.
#[derive(Debug)]
pub enum Answer {
    Done(Value),
    /// It may pass later. `stored`: whether its events may be in the log all the same.
    Later {
        reason: String,
        after: Option<Duration>,
        maybe_stored: bool,
    },
    /// It will never pass.
    Refused {
        status: StatusCode,
        detail: String,
        index: Option<usize>,
    },
}

/// Waiting between attempts, until patience ends.
#[derive(Debug)]
pub struct Retry {
    since: Instant,
    patience: Duration,
    back_off: Duration,
}

impl Server {
    pub fn new(args: &ReplayArgs) -> anyhow::Result<Self> {
        let base = Url::parse(&args.to).with_context(|| format!("--to {}", args.to))?;
        if base.scheme() != "http" || base.host().is_none() {
            bail!("--to {}: only http://HOST:PORT is understood", args.to);
        }
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT).no_proxy().build()?;
        Ok(Self { client, base, stream: args.stream.clone(), patience: Duration::from_secs(args.patience) })
    }

    pub fn retry(&self) -> Retry {
        Retry { since: Instant::now(), patience: self.patience, back_off: FIRST_BACK_OFF }
    }

    /// Waits for the server if need be; an error if it does not have the stream.
    pub async fn find_stream(&self) -> anyhow::Result<StreamInfo> {
        #[derive(Deserialize)]
        struct Streams {
            streams: Vec<StreamInfo>,
        }
        let answer = self.until_done(|| Ok(self.client.get(self.base.join("v1/streams")?))).await?;
        let Streams { streams } = serde_json::from_value(answer).context("the answer to GET /v1/streams")?;
        let names: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
        let found = streams.into_iter().find(|stream| stream.name == self.stream);
        found.with_context(|| format!("there is no stream `{}`; there are: {}", self.stream, names.join(", ")))
    }

    /// A numbering of its own. None: the server cannot give one.
    pub async fn new_producer(&self) -> anyhow::Result<Option<(i64, i16)>> {
        #[derive(Deserialize)]
        struct Producer {
            producer_id: i64,
            epoch: i16,
        }
        let mut retry = self.retry();
        loop {
            match send(self.client.post(self.base.join("v1/producers")?)).await {
                Answer::Done(answer) => {
                    let Producer { producer_id, epoch } =
                        serde_json::from_value(answer).context("POST /v1/producers")?;
                    return Ok(Some((producer_id, epoch)));
                }
                Answer::Refused { status: StatusCode::NOT_IMPLEMENTED, .. } => return Ok(None),
                Answer::Refused { status, detail, .. } => bail!("POST /v1/producers: {status}: {detail}"),
                Answer::Later { reason, after, .. } => retry.wait(&reason, after).await?,
            }
        }
    }

    /// One attempt to send a body of NDJSON.
    pub async fn post(
        &self,
        ack: AckMode,
        body: bytes::Bytes,
        headers: &[(&'static str, String)],
    ) -> anyhow::Result<Answer> {
        let mut url = self.base.join("v1/streams/")?.join(&format!("{}/events", self.stream))?;
        url.set_query(Some(match ack {
            AckMode::Buffered => "ack=buffered",
            AckMode::Committed => "ack=committed",
        }));
        let mut request = self.client.post(url).header(header::CONTENT_TYPE, "application/x-ndjson").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        Ok(send(request).await)
    }

    async fn until_done(&self, request: impl Fn() -> anyhow::Result<RequestBuilder>) -> anyhow::Result<Value> {
        let mut retry = self.retry();
        loop {
            match send(request()?).await {
                Answer::Done(answer) => return Ok(answer),
                Answer::Refused { status, detail, .. } => bail!("{}: {status}: {detail}", self.base),
                Answer::Later { reason, after, .. } => retry.wait(&reason, after).await?,
            }
        }
    }
}

impl StreamInfo {
    /// The record's key, as the gateway makes it.
    pub fn key(&self, event: &str) -> String {
        let event: Value = serde_json::from_str(event).unwrap_or_default();
        let part =
            |path: &String| path.split('.').fold(&event, |value, name| &value[name]).as_str().unwrap_or_default();
        self.key.iter().map(part).collect::<Vec<_>>().join("|")
    }
}

impl Retry {
    /// An error when patience has ended.
    pub async fn wait(&mut self, reason: &str, after: Option<Duration>) -> anyhow::Result<()> {
        if self.since.elapsed() > self.patience {
            bail!("the server has taken nothing for {} s: {reason}", self.patience.as_secs());
        }
        let pause = after.map_or(self.back_off, |after| after.min(LONGEST_RETRY_AFTER));
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

async fn send(request: RequestBuilder) -> Answer {
    match request.send().await {
        Ok(response) => read(response).await,
        Err(error) => lost(&error),
    }
}

/// No answer: unless the connection was never made, the request may have been carried out.
fn lost(error: &reqwest::Error) -> Answer {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        reason = inner.to_string();
        cause = inner.source();
    }
    Answer::Later { reason, after: None, maybe_stored: !error.is_connect() }
}

async fn read(response: Response) -> Answer {
    let status = response.status();
    let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = match response.json::<Value>().await {
        Ok(body) => body,
        Err(error) if status.is_success() => return lost(&error),
        Err(_) => Value::Null,
    };
    if status.is_success() {
        return Answer::Done(body);
    }
    let detail = body["detail"].as_str().unwrap_or("no reason was given").to_owned();
    let later = [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::BAD_GATEWAY,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if later.contains(&status) {
        // Of this gateway only that problem leaves it open; what others in between say is not known.
        let known = body["type"].as_str().is_some_and(|kind| !kind.ends_with(":commit-timeout"));
        let reason = format!("{status}: {detail}");
        return Answer::Later { reason, after: seconds.map(Duration::from_secs), maybe_stored: !known };
    }
    let index = body["index"].as_u64().and_then(|index| usize::try_from(index).ok());
    Answer::Refused { status, detail, index }
}
