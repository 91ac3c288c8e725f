//! How long answers take lately: a histogram that forgets.

use std::time::Duration;

/// Buckets for each doubling of the time: a bucket is at most a quarter wider than where it begins.
const STEPS: u32 = 4;
/// From 16 us (everything quicker is one bucket) up to 2^20 times that, about 17 s.
const FLOOR_NS: u64 = 16_000;
const BUCKETS: usize = (STEPS * 20) as usize;
/// After so many answers everything counts half: what was usual long ago is forgotten.
const MEMORY: u32 = 1024;

/// Times of answers. Pure: it knows no clock.
#[derive(Clone, Debug)]
pub struct Latency {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

impl Latency {
    /// Notes one answer.
    pub fn add(&mut self, time: Duration) {
        if self.total >= MEMORY {
            self.counts.iter_mut().for_each(|n| *n /= 2);
            self.total = self.counts.iter().map(|n| u32::from(*n)).sum();
        }
        let bucket = bucket_of(time);
        // A count stays below MEMORY + 1.
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The time (the upper end of its bucket) within which 99 of 100 answers came; `None` before the first answer.
    pub fn p99(&self) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let allowed = self.total / 100;
        let mut slower = 0;
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            slower += u32::from(*count);
            if slower > allowed {
                return Some(end_of(bucket));
            }
        }
        None
    }
}

fn bucket_of(time: Duration) -> usize {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(FLOOR_NS);
    let doubled = (ns / FLOOR_NS).ilog2();
    let base = FLOOR_NS.saturating_mul(1 << doubled.min(40));
    let step = (ns.saturating_sub(base)).saturating_mul(u64::from(STEPS)) / base;
    let bucket = u64::from(doubled * STEPS) + step.min(u64::from(STEPS - 1));
    usize::try_from(bucket).map_or(BUCKETS - 1, |b| b.min(BUCKETS - 1))
}

fn end_of(bucket: usize) -> Duration {
    let (doubled, step) = (bucket as u32 / STEPS, bucket as u32 % STEPS);
    let base = FLOOR_NS << doubled;
    Duration::from_nanos(base + base / u64::from(STEPS) * u64::from(step + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_slow_answer_of_a_hundred_does_not_count() {
        let mut latency = Latency::default();
        assert_eq!(latency.p99(), None);
        (0..200).for_each(|_| latency.add(Duration::from_millis(1)));
        latency.add(Duration::from_secs(3));
        let p99 = latency.p99().unwrap();
        assert!(
            p99 >= Duration::from_millis(1) && p99 <= Duration::from_micros(1300),
            "{p99:?}"
        );
        (0..10).for_each(|_| latency.add(Duration::from_secs(3)));
        assert!(latency.p99().unwrap() >= Duration::from_secs(3));
    }

    #[test]
    fn the_past_is_forgotten() {
        let mut latency = Latency::default();
        (0..1000).for_each(|_| latency.add(Duration::from_millis(400)));
        (0..12_000).for_each(|_| latency.add(Duration::from_millis(2)));
        assert!(latency.p99().unwrap() < Duration::from_millis(3));
    }

    proptest! {
        #[test]
        fn the_estimate_is_not_below_and_at_most_a_quarter_above(ns in FLOOR_NS..8_000_000_000) {
            let mut latency = Latency::default();
            latency.add(Duration::from_nanos(ns));
            let p99 = latency.p99().unwrap().as_nanos() as u64;
            prop_assert!(p99 >= ns.saturating_sub(8) && p99 <= ns + ns / 3, "{ns} {p99}");
        }

        #[test]
        fn any_time_has_a_bucket(ns: u64) {
            prop_assert!(bucket_of(Duration::from_nanos(ns)) < BUCKETS);
        }
    }
}
