//! Samples and their medians.

use crate::load::Load;
use ::tests::lab::error::{Context, Result, fail};
use std::time::Duration;

/// One run of one load.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// In the load's unit; more is better.
    pub rate: f64,
    /// Latencies of the single operations in microseconds: median, 99th percentile, longest.
    pub latency: [f64; 3],
}

impl Sample {
    /// From what was done, how long it took and each operation's latency.
    #[must_use]
    pub fn new(rate: f64, mut latencies: Vec<Duration>) -> Sample {
        latencies.sort_unstable();
        let at = |share: f64| percentile(&latencies, share).as_secs_f64() * 1e6;
        Sample {
            rate,
            latency: [at(0.5), at(0.99), at(1.0)],
        }
    }

    /// The line of `--raw`.
    #[must_use]
    pub fn to_line(&self, load: Load) -> String {
        let [median, p99, longest] = self.latency;
        format!("{} {} {median} {p99} {longest}", load.name(), self.rate)
    }

    /// Reads the line of `--raw`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse_line(line: &str) -> Result<(Load, Sample)> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let load = Load::ALL.into_iter().find(|load| load.name() == name);
        let load = load.ok_or_else(|| fail(format!("not a sample: {line}")))?;
        let numbers = words
            .map(str::parse::<f64>)
            .collect::<std::result::Result<Vec<_>, _>>()
            .context(line)?;
        match numbers.as_slice() {
            [rate, median, p99, longest] => Ok((
                load,
                Sample {
                    rate: *rate,
                    latency: [*median, *p99, *longest],
                },
            )),
            _ => Err(fail(format!("not a sample: {line}"))),
        }
    }
}

/// The value below which `share` of a sorted list lies.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    // Rounding to an index: the list is far shorter than 2^52.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// All runs of one load.
#[derive(Debug)]
pub struct Figure {
    /// The load.
    pub load: Load,
    samples: Vec<Sample>,
}

impl Figure {
    /// Without runs yet.
    #[must_use]
    pub fn new(load: Load) -> Figure {
        Figure {
            load,
            samples: Vec::new(),
        }
    }

    /// Adds a run.
    pub fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Median rate; `None` without runs.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        median(self.samples.iter().map(|sample| sample.rate).collect())
    }

    /// Median of a latency: 0 the median, 1 the 99th percentile, 2 the longest.
    #[must_use]
    pub fn latency(&self, which: usize) -> Option<f64> {
        median(
            self.samples
                .iter()
                .filter_map(|sample| sample.latency.get(which).copied())
                .collect(),
        )
    }

    /// One printed line.
    #[must_use]
    pub fn line(&self) -> String {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".into(), short);
        let runs: Vec<String> = self.samples.iter().map(|sample| short(sample.rate)).collect();
        format!(
            "{:<18} {:>10} {:<5} p50 {:>8} us  p99 {:>8} us  max {:>9} us   runs {}",
            self.load.name(),
            shown(self.rate()),
            self.load.unit(),
            shown(self.latency(0)),
            shown(self.latency(1)),
            shown(self.latency(2)),
            runs.join(" ")
        )
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Three or more digits, no more than needed.
#[must_use]
pub fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_percentiles_and_raw_lines() {
        let latencies = (1..=100).map(Duration::from_micros).collect();
        let sample = Sample::new(5.0, latencies);
        assert_eq!(sample.latency, [51.0, 99.0, 100.0]);
        let (load, back) = Sample::parse_line(&sample.to_line(Load::SeqWrite)).unwrap();
        assert_eq!((load, back), (Load::SeqWrite, sample));
        assert!(Sample::parse_line("seq_write 1 2").is_err());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
