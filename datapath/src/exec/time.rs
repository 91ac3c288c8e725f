//! Points in time as a core sees them. Both clocks come from the driver, so that a simulation owns them.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since an arbitrary start (the same for all cores of a machine).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// Time from `earlier` to `self`; zero if `earlier` is the later one.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    /// Saturates: "never" plus something is still never.
    fn add(self, time: Duration) -> Mono {
        Mono(
            self.0
                .saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

impl Sub for Mono {
    type Output = Duration;

    /// Like [`Mono::since`]: never negative.
    fn sub(self, earlier: Mono) -> Duration {
        self.since(earlier)
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;

    fn sub(self, time: Duration) -> Mono {
        Mono(
            self.0
                .saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// The date: seconds since 1970 and nanoseconds below one second. Goes back when somebody sets the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime {
    /// Seconds since 1970-01-01 UTC.
    pub sec: i64,
    /// 0..1_000_000_000.
    pub nsec: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let t = Mono(1_000);
        assert_eq!(t + Duration::from_nanos(5) - t, Duration::from_nanos(5));
        assert_eq!(t - Mono(2_000), Duration::ZERO);
        assert_eq!(t + Duration::MAX, Mono(u64::MAX));
        assert_eq!(t - Duration::from_secs(1), Mono(0));
    }
}
