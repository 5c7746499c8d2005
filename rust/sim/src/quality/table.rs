//! The scoreboard: a row for each family, as text that can be read again and held against what is now.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::score::{Figures, Outcome};

/// A column: its name, what it tells of one run, and by how much it may move: in its own unit, and in percent.
struct Column {
    name: &'static str,
    meaning: &'static str,
    /// Of several viewers and runs.
    of: fn(&[f64]) -> f64,
    value: fn(&Figures, &Outcome) -> Option<f64>,
    slack: (f64, f64),
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

const COLUMNS: [Column; 17] = [
    Column {
        name: "frozen",
        meaning: "seconds frozen, as getStats counts them",
        of: mean,
        value: |it, _| it.first_frame_ms.map(|_| it.frozen_s),
        slack: (0.2, 10.0),
    },
    Column {
        name: "worst",
        meaning: "... of the viewer with the most",
        of: most,
        value: |it, _| it.first_frame_ms.map(|_| it.frozen_s),
        slack: (0.5, 15.0),
    },
    Column {
        name: "gap",
        meaning: "the longest time without a frame, in seconds, of the viewer with the longest",
        of: most,
        value: |it, _| it.first_frame_ms.map(|_| it.longest_gap_s),
        slack: (0.3, 15.0),
    },
    Column {
        name: "first",
        meaning: "milliseconds from joining to the first frame",
        of: mean,
        value: |it, _| it.first_frame_ms,
        slack: (30.0, 5.0),
    },
    Column {
        name: "used",
        meaning: "% of the best layers that fit into the link beside audio, in the steady part",
        of: mean,
        value: |it, _| it.used,
        slack: (2.0, 0.0),
    },
    Column {
        name: "link",
        meaning: "% of the link used, in the steady part: layers are steps, and the next may not fit",
        of: mean,
        value: |it, _| it.used_of_link,
        slack: (2.0, 0.0),
    },
    Column {
        name: "over",
        meaning: "% of the bytes that found the queue full",
        of: mean,
        value: |it, _| Some(it.overflowed),
        slack: (0.3, 10.0),
    },
    Column {
        name: "for",
        meaning: "the longest time in seconds for which more was sent than the link carries",
        of: most,
        value: |it, _| Some(it.longest_over_s),
        slack: (0.5, 0.0),
    },
    Column {
        name: "queue",
        meaning: "milliseconds in the queue, which 95 % of the packets do not exceed",
        of: mean,
        value: |it, _| Some(it.queue_p95_ms),
        slack: (10.0, 10.0),
    },
    Column {
        name: "repair",
        meaning: "% of the bytes that came were sent again for being asked for",
        of: mean,
        value: |it, _| Some(it.repair),
        slack: (0.3, 10.0),
    },
    Column {
        name: "probes",
        meaning: "% of the bytes that came were padding",
        of: mean,
        value: |it, _| Some(it.padding),
        slack: (0.3, 10.0),
    },
    Column {
        name: "audio",
        meaning: "% of the audio concealed",
        of: mean,
        value: |it, _| Some(it.audio_lost),
        slack: (0.1, 10.0),
    },
    Column {
        name: "silent",
        meaning: "the longest time in seconds without a packet of audio",
        of: most,
        value: |it, _| Some(it.longest_silence_s),
        slack: (0.1, 10.0),
    },
    Column {
        name: "plis",
        meaning: "keyframes that publishers were asked for, per minute",
        of: mean,
        value: |_, run| Some(run.asked_keyframes),
        slack: (0.5, 10.0),
    },
    Column {
        name: "pauses",
        meaning: "times that video was paused for want of room, by viewer",
        of: mean,
        value: |it, _| Some(it.pauses as f64),
        slack: (0.3, 10.0),
    },
    Column {
        name: "turns",
        meaning: "changes of the encoding shown per minute, in the steady part",
        of: mean,
        value: |it, _| it.switches,
        slack: (0.5, 10.0),
    },
    Column {
        name: "back",
        meaning: "seconds from when the link is wide again to the best encoding, of the viewer with the most",
        of: most,
        value: |it, _| it.recovered_s,
        slack: (0.5, 10.0),
    },
];

/// One family's figures, in the order of the columns; none where there is nothing to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The family.
    pub family: String,
    /// Scenarios in it.
    pub count: usize,
    /// Figures.
    pub values: Vec<Option<f64>>,
}

/// A figure that moved by more than it may.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Of which family.
    pub family: String,
    /// Which figure.
    pub column: &'static str,
    /// What it was, as committed.
    pub before: Option<f64>,
    /// What it is.
    pub now: Option<f64>,
}

/// The rows of these runs, each given with its family, in their order.
pub fn rows(runs: &[(&str, Outcome)]) -> Vec<Row> {
    runs.chunk_by(|one, other| one.0 == other.0).map(row).collect()
}

fn row(runs: &[(&str, Outcome)]) -> Row {
    let value = |column: &Column| {
        let viewers = runs.iter().flat_map(|(_, run)| run.viewers.iter().map(move |viewer| (viewer, run)));
        let values: Vec<_> = viewers.filter_map(|(viewer, run)| (column.value)(viewer, run)).collect();
        // As it is printed, so that what is read again is the same.
        (!values.is_empty()).then(|| ((column.of)(&values) * 10.0).round() / 10.0)
    };
    let family = runs.first().map_or(String::new(), |(family, _)| (*family).into());
    Row { family, count: runs.len(), values: COLUMNS.iter().map(value).collect() }
}

/// As text.
pub fn print(rows: &[Row]) -> String {
    let mut text = String::from(
        "# What viewers see in the scenarios of rust/sim/src/quality, by family. Written by `quality --update`; `quality\n\
         # --check` fails where a figure moved by more than what is said below, and whoever moves one says why.\n#\n",
    );
    for Column { name, meaning, slack: (own, percent), .. } in &COLUMNS {
        let _ = writeln!(text, "# {name:<7} {meaning} (may move by {own} or {percent} %)");
    }
    let _ = write!(text, "#\n{:<17}{:>3}", "family", "n");
    COLUMNS.iter().for_each(|column| {
        let _ = write!(text, "{:>8}", column.name);
    });
    text.push('\n');
    for Row { family, count, values } in rows {
        let _ = write!(text, "{:<17}{count:>3}", family.replace(' ', "-"));
        for value in values {
            let _ = match value {
                Some(value) => write!(text, "{value:>8.1}"),
                None => write!(text, "{:>8}", "-"),
            };
        }
        text.push('\n');
    }
    text
}

/// Reads what [`print`] wrote; none where it is something else.
pub fn parse(text: &str) -> Option<Vec<Row>> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = lines.next()?.split_whitespace().skip(2).collect();
    if names != COLUMNS.each_ref().map(|column| column.name) {
        return None;
    }
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (family, count) = (words.next()?.replace('-', " "), words.next()?.parse().ok()?);
            let values: Vec<_> = words.map(|word| word.parse().ok()).collect();
            (values.len() == COLUMNS.len()).then_some(Row { family, count, values })
        })
        .collect()
}

/// What moved from `before` to `now` by more than it may, families that came or went included.
pub fn compare(before: &[Row], now: &[Row]) -> Vec<Moved> {
    let nothing = vec![None; COLUMNS.len()];
    let by_name =
        |rows: &[Row]| -> BTreeMap<_, _> { rows.iter().map(|row| (row.family.clone(), row.values.clone())).collect() };
    let (before, now) = (by_name(before), by_name(now));
    let families: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let mut moved = Vec::new();
    for family in families {
        let (old, new) = (before.get(family).unwrap_or(&nothing), now.get(family).unwrap_or(&nothing));
        for (column, (&old, &new)) in COLUMNS.iter().zip(old.iter().zip(new)) {
            let is_same = match (old, new) {
                (Some(old), Some(new)) => {
                    (old - new).abs() <= column.slack.0.max(column.slack.1 / 100.0 * old.abs()) + 0.001
                }
                (old, new) => old == new,
            };
            if !is_same {
                moved.push(Moved { family: family.clone(), column: column.name, before: old, now: new });
            }
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f64) -> Row {
        let mut values = vec![Some(1.5); COLUMNS.len()];
        (values[3], values[16]) = (Some(value), None);
        Row { family: "step up".into(), count: 3, values }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let rows = vec![row(300.0)];
        assert_eq!(parse(&print(&rows)), Some(rows));
        assert_eq!(parse("# nothing\nfamily n other\n"), None);
    }

    #[test]
    fn a_little_may_move_and_more_may_not() {
        assert_eq!(compare(&[row(300.0)], &[row(330.0)]), []);
        let moved = compare(&[row(300.0)], &[row(331.0)]);
        assert_eq!((moved.len(), moved[0].column, moved[0].now), (1, "first", Some(331.0)));
        assert_eq!(compare(&[row(300.0)], &[]).len(), COLUMNS.len() - 1, "a family that is gone");
    }
}
