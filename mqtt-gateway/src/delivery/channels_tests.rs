#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn rules() -> Rules {
    Rules {
        stream: "emoji".into(),
        format: Format { channel_field: None, group_fields: Vec::new(), measure: "count".into() },
        top_n: 10,
        cumulate_ms: None,
        close_ms: None,
        whole_corrections: false,
        max_channels: 100,
    }
}

fn row(telling: Telling, channel: &str, label: &str, amount: u32) -> Record {
    let group = Group { label: label.into(), fields: Vec::new(), amount: f64::from(amount) };
    Record { telling, channel: channel.into(), content: Content::Group(group) }
}

/// Window `number` of 2 s; stage 0 is early, 1 final, 2 the first correction.
fn telling(number: i64, stage: u64) -> Telling {
    Telling { window_start: number * 2_000, window_end: (number + 1) * 2_000, stage }
}

/// One batch; its first row has offset `base`.
fn tell(channels: &mut Channels, base: i64, rows: Vec<Record>) -> (Vec<Mood>, Vec<Skip>) {
    let mut skips = Vec::new();
    let rows = rows.into_iter().enumerate().map(|(index, row)| (base + index as i64, row)).collect();
    let moods = channels.apply(rows, |skip| skips.push(skip));
    (moods, skips)
}

fn totals(moods: &[Mood]) -> Vec<(i64, &str, f64)> {
    moods.iter().map(|mood| (mood.telling.window_start, mood.channel_id.as_str(), mood.total)).collect()
}

#[test]
fn one_mood_per_window_and_channel_in_order() {
    let mut channels = Channels::new(rules());
    let (first, second) = (telling(0, 1), telling(1, 1));
    let rows =
        vec![row(second, "a", "x", 1), row(first, "b", "x", 1), row(first, "a", "x", 1), row(first, "a", "y", 1)];
    let (moods, _) = tell(&mut channels, 7, rows);
    assert_eq!(totals(&moods), [(0, "a", 2.0), (0, "b", 1.0), (2_000, "a", 1.0)]);
    // One more than the offset of the window's last row.
    assert_eq!(moods.iter().map(|mood| mood.sequence).collect::<Vec<_>>(), [11, 9, 8]);
}

#[test]
fn early_rows_are_running_results_until_the_final_ones() {
    let mut channels = Channels::new(rules());
    for (offset, total) in [(0, 1), (1, 3)] {
        let (moods, _) = tell(&mut channels, offset, vec![row(telling(0, 0), "c", "x", total)]);
        assert!(!moods[0].is_final && moods[0].total == f64::from(total));
    }
    let (moods, _) = tell(&mut channels, 2, vec![row(telling(0, 1), "c", "x", 4)]);
    assert!(moods[0].is_final);
    let (moods, skips) = tell(&mut channels, 3, vec![row(telling(0, 0), "c", "x", 2)]);
    assert_eq!((moods, skips), (Vec::new(), vec![Skip::Older]), "told early again after a crash");
}

#[test]
fn a_correction_of_the_shown_window_keeps_the_groups_that_have_not_changed() {
    let mut channels = Channels::new(rules());
    tell(&mut channels, 0, vec![row(telling(0, 1), "c", "x", 4), row(telling(0, 1), "c", "y", 1)]);
    let (moods, _) = tell(&mut channels, 2, vec![row(telling(0, 2), "c", "y", 6), row(telling(0, 2), "c", "z", 2)]);
    assert_eq!((moods[0].total, moods[0].groups, moods[0].telling.revision()), (12.0, 3, 1));
    assert_eq!(moods[0].top[0].group.label, "y");
}

#[test]
fn a_correction_of_an_older_window_is_passed_over() {
    let mut channels = Channels::new(rules());
    tell(&mut channels, 0, vec![row(telling(0, 1), "c", "x", 4)]);
    let correction_and_next = vec![row(telling(0, 2), "c", "x", 5), row(telling(1, 1), "c", "x", 1)];
    let (moods, _) = tell(&mut channels, 1, correction_and_next);
    assert_eq!(totals(&moods), [(0, "c", 5.0), (2_000, "c", 1.0)]);
    assert_eq!(tell(&mut channels, 3, vec![row(telling(0, 3), "c", "x", 6)]).1, [Skip::Older]);
}

#[test]
fn a_correction_without_its_window_shows_nothing_unless_it_is_whole() {
    let correction = || vec![row(telling(0, 2), "c", "x", 5)];
    assert_eq!(tell(&mut Channels::new(rules()), 0, correction()).1, [Skip::Unknown]);
    let whole = Rules { whole_corrections: true, ..rules() };
    assert_eq!(tell(&mut Channels::new(whole), 0, correction()).0.len(), 1);
}

#[test]
fn a_polls_steps_are_running_until_its_end_or_its_close() {
    let rules = Rules { cumulate_ms: Some(10), close_ms: Some(28), ..rules() };
    let mut channels = Channels::new(rules);
    let ends = [(0, 4), (0, 10), (20, 24), (20, 28)];
    let is_final = ends.map(|(window_start, window_end)| {
        let telling = Telling { window_start, window_end, stage: 1 };
        tell(&mut channels, window_end, vec![row(telling, "c", "x", 1)]).0[0].is_final
    });
    assert_eq!(is_final, [false, true, false, true]);
}

#[test]
fn a_window_record_brings_totals_of_the_uncut_window() {
    let mut channels = Channels::new(rules());
    let top = vec![Group { label: "x".into(), fields: Vec::new(), amount: 5.0 }];
    let content = Content::Window { total: 20, groups: 9, top };
    let record = |stage| Record { telling: telling(0, stage), channel: "c".into(), content: content.clone() };
    let (moods, _) = tell(&mut channels, 0, vec![record(1)]);
    assert_eq!((moods[0].total, moods[0].groups, moods[0].top[0].share), (20.0, 9, 0.25));
    assert_eq!(tell(&mut channels, 1, vec![record(2)]).0.len(), 1, "a correction of it is whole");
}

#[test]
fn the_channels_silent_for_longest_are_forgotten() {
    let mut channels = Channels::new(Rules { max_channels: 16, ..rules() });
    for number in 0..40 {
        tell(&mut channels, number, vec![row(telling(number, 1), &format!("c{number}"), "x", 1)]);
        assert!(channels.channels.len() <= 16);
    }
    assert!(channels.channels.contains_key("c39") && !channels.channels.contains_key("c0"));
}

proptest! {
    /// Whatever comes in whatever order, a channel's moods only get newer.
    #[test]
    fn never_an_older_state_after_a_newer_one(
        batches in proptest::collection::vec(proptest::collection::vec((0_i64..6, 0_u64..4, 0_usize..3), 1..5), 1..20),
    ) {
        let mut channels = Channels::new(rules());
        let mut shown: HashMap<String, (Telling, u64)> = HashMap::new();
        for (batch, rows) in batches.into_iter().enumerate() {
            let rows = rows.into_iter().map(|(number, stage, name)| row(telling(number, stage), &format!("c{name}"), "x", 1));
            for mood in tell(&mut channels, batch as i64 * 10, rows.collect()).0 {
                let state = (mood.telling, mood.sequence);
                if let Some(before) = shown.insert(mood.channel_id, state) {
                    prop_assert!(before.0 <= state.0);
                }
            }
        }
    }
}
