//! What the fan-out must know of a stream's aggregate to understand its rows.

use super::Stream;
use tifo_aggregator::{Definition, Function, Shape, Window};
use tifo_mqtt_gateway::StreamConfig;

/// The measure that shares are of if a stream names none.
const COUNT: &str = "count";

pub fn stream(stream: &Stream) -> StreamConfig {
    let aggregate = &stream.aggregate;
    let channel_field = channel_field(stream);
    let outside = fields_outside(aggregate);
    let is_group = |field: &&str| Some(*field) != channel_field.as_deref() && !outside.contains(field);
    let group_fields = aggregate.group_fields().filter(is_group).map(str::to_owned).collect();
    let whole_corrections = aggregate.top.is_some()
        || aggregate.measure.values().any(|measure| matches!(measure.function, Function::Share(_)));
    StreamConfig {
        name: stream.name.clone(),
        aggregate_topic: aggregate.into.clone(),
        top_n: stream.top_n,
        min_interval_ms: stream.min_interval_ms,
        binary: stream.binary,
        group_fields,
        channel_field,
        measure: measure(stream),
        cumulate_ms: cumulate_ms(aggregate),
        close_ms: aggregate.close.as_ref().map(|close| close.ms),
        whole_corrections,
    }
}

/// What the types do not say.
pub fn check(stream: &Stream) -> Result<(), String> {
    let (channel, measure) = (&stream.channel, &stream.measure);
    if !channel.is_empty() && !stream.aggregate.group_fields().any(|field| field == channel) {
        return Err(format!("`channel`: `{channel}` is none of the fields that the aggregate groups by"));
    }
    if !measure.is_empty() && !stream.aggregate.measure.contains_key(measure) {
        return Err(format!("`measure`: the aggregate has none that is named `{measure}`"));
    }
    Ok(())
}

/// The named one; or what a window is written per; or the first field of several.
fn channel_field(stream: &Stream) -> Option<String> {
    if !stream.channel.is_empty() {
        return Some(stream.channel.clone());
    }
    let fields: Vec<&str> = match stream.aggregate.shape {
        Shape::Window => fields_outside(&stream.aggregate),
        Shape::Row => stream.aggregate.group_fields().take(stream.aggregate.group_by.len().saturating_sub(1)).collect(),
    };
    fields.first().map(|field| (*field).to_owned())
}

/// The fields that stand beside the top in a record of a whole window.
fn fields_outside(aggregate: &Definition) -> Vec<&str> {
    let Some(top) = aggregate.top.as_ref().filter(|_| aggregate.shape == Shape::Window) else { return Vec::new() };
    let paths = aggregate.group_by.iter().zip(aggregate.group_fields());
    paths.filter(|(path, _)| top.per.contains(path)).map(|(_, field)| field).collect()
}

fn measure(stream: &Stream) -> String {
    let measures = &stream.aggregate.measure;
    let named = Some(stream.measure.as_str()).filter(|name| !name.is_empty());
    let count = Some(COUNT).filter(|count| measures.contains_key(*count));
    let first = || measures.keys().next().map(String::as_str);
    named.or(count).or_else(first).unwrap_or(COUNT).to_owned()
}

fn cumulate_ms(aggregate: &Definition) -> Option<i64> {
    match aggregate.window {
        Window::Cumulate { size, .. } => i64::try_from(size.as_millis()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tifo_aggregator::Top;

    fn poll(group_by: &[&str]) -> Stream {
        let group_by = group_by.iter().map(|path| (*path).to_owned()).collect();
        let aggregate = Definition { group_by, ..Definition::emoji() };
        Stream { aggregate, ..Stream::emoji() }
    }

    #[test]
    fn the_first_of_several_fields_is_the_channel_unless_another_is_named() {
        let emoji = stream(&Stream::emoji());
        assert_eq!(emoji, StreamConfig::default());
        let alone = stream(&poll(&["vote.choice"]));
        assert_eq!((alone.channel_field, alone.group_fields), (None, vec!["choice".to_owned()]));
        let named = stream(&Stream { channel: "poll_id".into(), ..poll(&["choice", "poll_id"]) });
        assert_eq!((named.channel_field.as_deref(), named.group_fields), (Some("poll_id"), vec!["choice".to_owned()]));
        assert!(check(&Stream { channel: "poll".into(), ..poll(&["choice"]) }).is_err());
        assert!(check(&Stream { measure: "sum".into(), ..poll(&["choice"]) }).is_err());
    }

    #[test]
    fn a_window_with_its_top_within_is_of_what_it_is_written_per() {
        let mut of_channels = poll(&["team", "event.channel_id"]);
        of_channels.aggregate.shape = Shape::Window;
        of_channels.aggregate.top = Some(Top { n: 3, per: vec!["event.channel_id".into()], by: "count".into() });
        let config = stream(&of_channels);
        assert_eq!(
            (config.channel_field.as_deref(), config.group_fields),
            (Some("channel_id"), vec!["team".to_owned()])
        );
        assert!(config.whole_corrections);
    }
}
