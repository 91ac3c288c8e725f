//! Checks a value against the kind of its option. The texts are the ones GlusterFS's command line prints, because
//! scripts match them.

use super::super::graph::parse_bool;
use super::{OptionSpec, ValueKind};

/// What the check of a value may need to know about the volume.
#[derive(Debug, Clone, Copy)]
pub struct ValidationContext<'a> {
    /// The volume's name.
    pub volume: &'a str,
    /// Bricks in one replica set.
    pub replica_count: usize,
    /// Path of the volume's first brick; GlusterFS names it in the error of a bad address list.
    pub brick: &'a str,
}

impl OptionSpec {
    /// Whether a value may be set.
    ///
    /// # Errors
    /// GlusterFS's text for what is wrong with it.
    pub fn validate(&self, value: &str, context: &ValidationContext<'_>) -> Result<(), String> {
        if value.contains(['`', '\0', '\n']) {
            return Err(format!(
                "option {}: a value may contain no back-tick, NUL or line feed",
                self.key
            ));
        }
        match self.kind {
            ValueKind::Bool => self.boolean(value),
            ValueKind::DaemonBool | ValueKind::ClusterBool => self.daemon_boolean(value),
            ValueKind::Switch => parse_bool(value)
                .map(drop)
                .ok_or_else(|| "Error, Validation Failed".to_string()),
            ValueKind::Int(min, max) => self.number(value, parse_int(value), min, max),
            ValueKind::Size(min, max) => self.number(value, parse_size(value), min, max),
            ValueKind::Time(min, max) => self.time(value, min, max),
            ValueKind::Percent | ValueKind::ClusterPercent => self.percent(value),
            ValueKind::PercentOrSize => self.percent_or_size(value),
            ValueKind::Unsigned => value.parse::<u64>().map(drop).map_err(|_| {
                format!(
                    "{value} is not a valid uint64_t value. {} expects a valid uint64_t value.",
                    self.key
                )
            }),
            ValueKind::PositiveInt => self.positive(value),
            ValueKind::Choice(words) | ValueKind::ClusterChoice(words) => self.choice(value, words),
            ValueKind::Mandatory => mandatory(value),
            ValueKind::ReplicaCount => self.up_to(value, context.replica_count),
            ValueKind::Path => self.path(value),
            ValueKind::AddressList => self.addresses(value, context),
            ValueKind::Text => Ok(()),
            ValueKind::Fixed | ValueKind::ClusterWide => self.fixed(value),
        }
    }

    /// The key as it stands in a volfile: GlusterFS's texts name that one.
    fn volfile_key(&self) -> &'static str {
        match self.targets.first() {
            Some(target) => target.option,
            None => self.key.split_once('.').map_or(self.key, |(_, rest)| rest),
        }
    }

    fn boolean(&self, value: &str) -> Result<(), String> {
        let text = || {
            format!(
                "option {} {value}: '{value}' is not a valid boolean value",
                self.volfile_key()
            )
        };
        parse_bool(value).map(drop).ok_or_else(text)
    }

    fn daemon_boolean(&self, value: &str) -> Result<(), String> {
        let text = || {
            format!(
                "{value} is not a valid boolean value. {} expects a valid boolean value.",
                self.key
            )
        };
        parse_bool(value).map(drop).ok_or_else(text)
    }

    fn number(&self, value: &str, number: Option<i64>, min: i64, max: i64) -> Result<(), String> {
        let key = self.volfile_key();
        let number = number.ok_or_else(|| format!("invalid number format \"{value}\" in option \"{key}\""))?;
        self.range(value, number, min, max)
    }

    fn range(&self, value: &str, number: i64, min: i64, max: i64) -> Result<(), String> {
        let key = self.volfile_key();
        if (min..=max).contains(&number) {
            Ok(())
        } else if max == i64::MAX {
            Err(format!(
                "'{number}' in 'option {key} {value}' is smaller than minimum value '{min}'"
            ))
        } else {
            Err(format!(
                "'{number}' in 'option {key} {value}' is out of range [{min} - {max}]"
            ))
        }
    }

    fn time(&self, value: &str, min: i64, max: i64) -> Result<(), String> {
        let text = || format!("invalid time format \"{value}\" in \"option {}\"", self.volfile_key());
        self.range(value, parse_time(value).ok_or_else(text)?, min, max)
    }

    fn percent(&self, value: &str) -> Result<(), String> {
        let key = self.volfile_key();
        let percent = parse_percent(value);
        let percent = percent.ok_or_else(|| format!("invalid percent format \"{value}\" in \"option {key}\""))?;
        if (0.0..=100.0).contains(&percent) {
            Ok(())
        } else {
            Err(format!(
                "'{percent:.6}' in 'option {key} {value}' is out of range [0 - 100]"
            ))
        }
    }

    fn percent_or_size(&self, value: &str) -> Result<(), String> {
        let key = self.volfile_key();
        match parse_percent(value).filter(|p| *p <= 100.0).is_some() || parse_size(value).is_some_and(|s| s >= 0) {
            true => Ok(()),
            false => Err(format!("invalid number format \"{value}\" in \"option {key}\"")),
        }
    }

    fn positive(&self, value: &str) -> Result<(), String> {
        match value.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(()),
            Ok(_) => Err(format!(
                "{value} is not a compatible value. {} expects a positiveinteger value.",
                self.key
            )),
            Err(_) => Err(format!(
                "{value} is not a compatible value. {} expects an integer value.",
                self.key
            )),
        }
    }

    fn choice(&self, value: &str, words: &[&str]) -> Result<(), String> {
        if words.iter().any(|w| w.eq_ignore_ascii_case(value)) {
            return Ok(());
        }
        let (key, words) = (self.volfile_key(), words.join(", "));
        Err(format!(
            "option {key} {value}: '{value}' is not valid (possible options are {words}.)"
        ))
    }

    fn up_to(&self, value: &str, max: usize) -> Result<(), String> {
        let key = self.key;
        let number = value.parse::<i64>();
        let number = number.map_err(|_| format!("{value} is not an integer. {key} expects a valid integer value."))?;
        if number >= 1 && usize::try_from(number).is_ok_and(|n| n <= max) {
            Ok(())
        } else {
            Err(format!("{number} in {key} {value} is out of range [1 - {max}]"))
        }
    }

    fn path(&self, value: &str) -> Result<(), String> {
        if value.starts_with('/') {
            return Ok(());
        }
        Err(format!(
            "option {} {value}: '{value}' is not an absolute path name",
            self.volfile_key()
        ))
    }

    fn addresses(&self, value: &str, context: &ValidationContext<'_>) -> Result<(), String> {
        if !value.is_empty() && value.split(',').all(is_address_pattern) {
            return Ok(());
        }
        let key = self.volfile_key().replace("{brick}", context.brick);
        Err(format!(
            "option {key} {value}: '{value}' is not a valid internet-address-list"
        ))
    }

    fn fixed(&self, value: &str) -> Result<(), String> {
        let default = self.default.value().unwrap_or("");
        let same = match (parse_bool(default), parse_bool(value)) {
            (Some(a), Some(b)) => a == b,
            _ => default == value,
        };
        if same {
            return Ok(());
        }
        let only = if default.is_empty() {
            "it cannot be set".into()
        } else {
            format!("only '{default}' is accepted")
        };
        Err(format!(
            "option : {} is not available in this release, {only}",
            self.key
        ))
    }
}

fn mandatory(value: &str) -> Result<(), String> {
    if ["off", "file", "forced", "optimal"].contains(&value) {
        return Ok(());
    }
    Err(format!(
        "Invalid option value '{value}': Available options are 'off', 'file', 'forced' or 'optimal'"
    ))
}

/// A number as C reads it: an optional sign, then decimal, 0x hexadecimal or 0 octal digits.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let number = match lower.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => i64::from_str_radix(hex, 16).ok()?,
        Some(_) => return None,
        None if lower.len() > 1 && lower.starts_with('0') => i64::from_str_radix(&lower, 8).ok()?,
        None => lower.parse().ok()?,
    };
    Some(if negative { -number } else { number })
}

/// Bytes with an optional unit, as GlusterFS reads them: KB, MB, GB, TB, PB (of 1024) or B, in any case; fractions
/// are allowed with a unit.
fn parse_size(text: &str) -> Option<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        "T" | "TB" => 40,
        "P" | "PB" => 50,
        _ => return None,
    };
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1 << shift);
    }
    let fraction: f64 = number.parse().ok()?;
    // Cut like C's conversion; the product is far below 2^63 or saturates.
    Some((fraction * (1_u64 << shift) as f64) as i64)
}

/// Seconds with an optional unit s/sec, m/min, h/hr, d/days, w/wk.
fn parse_time(text: &str) -> Option<i64> {
    if let Some(seconds) = parse_int(text) {
        return (seconds >= 0).then_some(seconds);
    }
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" | "sec" => 1,
        "m" | "min" => 60,
        "h" | "hr" => 3600,
        "d" | "days" => 86_400,
        "w" | "wk" => 604_800,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

fn parse_percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%').unwrap_or(text);
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    number.parse().ok()
}

/// One element of auth.allow: `*`, an address, a pattern, a network, a host name, or `/dir(pattern|pattern)`.
fn is_address_pattern(text: &str) -> bool {
    let (path, text) = match (text.starts_with('/'), text.split_once('(')) {
        (true, Some((path, rest))) => (path, rest.strip_suffix(')').unwrap_or("!")),
        (true, None) => (text, "*"),
        (false, _) => ("", text),
    };
    !path.contains(char::is_whitespace)
        && text.split('|').all(|pattern| {
            let allowed =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '*' | '?' | ':' | '-' | '/' | '[' | ']');
            !pattern.is_empty() && !pattern.starts_with('-') && pattern.chars().all(allowed)
        })
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    const CONTEXT: ValidationContext<'_> = ValidationContext {
        volume: "v1",
        replica_count: 3,
        brick: "/b/1",
    };

    fn check(key: &str, value: &str) -> String {
        match find(key).unwrap().validate(value, &CONTEXT) {
            Ok(()) => "ok".into(),
            Err(text) => text,
        }
    }

    /// Each line was observed on GlusterFS 10.3.
    #[test]
    fn answers_like_glusterfs() {
        for (key, value, want) in [
            ("cluster.eager-lock", "ENABLE", "ok"),
            (
                "cluster.eager-lock",
                "2",
                "option eager-lock 2: '2' is not a valid boolean value",
            ),
            (
                "client.strict-locks",
                "7",
                "7 is not a valid boolean value. client.strict-locks expects a valid boolean value.",
            ),
            ("performance.quick-read", "7", "Error, Validation Failed"),
            (
                "cluster.heal-timeout",
                "1KB",
                "invalid number format \"1KB\" in option \"heal-timeout\"",
            ),
            ("cluster.heal-timeout", "0x10", "ok"),
            ("cluster.heal-timeout", "+5", "ok"),
            (
                "cluster.heal-timeout",
                "0",
                "'0' in 'option heal-timeout 0' is out of range [5 - 2147483647]",
            ),
            ("storage.create-mask", "0755", "ok"),
            (
                "storage.create-mask",
                "755",
                "'755' in 'option create-mask 755' is out of range [0 - 511]",
            ),
            (
                "storage.create-mask",
                "0o7",
                "invalid number format \"0o7\" in option \"create-mask\"",
            ),
            ("network.ping-timeout", "10sec", "ok"),
            (
                "network.ping-timeout",
                "1hr",
                "'3600' in 'option ping-timeout 1hr' is out of range [0 - 1013]",
            ),
            (
                "network.ping-timeout",
                "1.5m",
                "invalid time format \"1.5m\" in \"option ping-timeout\"",
            ),
            (
                "network.ping-timeout",
                "-5",
                "invalid time format \"-5\" in \"option ping-timeout\"",
            ),
            ("cluster.min-free-inodes", "10.5", "ok"),
            (
                "cluster.min-free-inodes",
                "101",
                "'101.000000' in 'option min-free-inodes 101' is out of range [0 - 100]",
            ),
            (
                "cluster.min-free-inodes",
                "-1%",
                "invalid percent format \"-1%\" in \"option min-free-inodes\"",
            ),
            ("storage.reserve", "10%", "ok"),
            ("storage.reserve", "1TB", "ok"),
            (
                "storage.reserve",
                "1KiB",
                "invalid number format \"1KiB\" in \"option reserve\"",
            ),
            (
                "cluster.background-self-heal-count",
                "-5",
                "'-5' in 'option background-self-heal-count -5' is smaller than minimum value '0'",
            ),
            (
                "cluster.quorum-type",
                "7",
                "option quorum-type 7: '7' is not valid (possible options are none, auto, fixed.)",
            ),
            (
                "cluster.quorum-count",
                "4",
                "4 in cluster.quorum-count 4 is out of range [1 - 3]",
            ),
            (
                "cluster.quorum-count",
                "abc",
                "abc is not an integer. cluster.quorum-count expects a valid integer value.",
            ),
            (
                "locks.mandatory-locking",
                "abc",
                "Invalid option value 'abc': Available options are 'off', 'file', 'forced' or 'optimal'",
            ),
            ("auth.allow", "/sub(1.2.3.4|5.6.7.8)", "ok"),
            ("auth.allow", "10.0.0.1,10.0.0.*", "ok"),
            (
                "auth.allow",
                "bad!",
                "option auth.addr./b/1.allow bad!: 'bad!' is not a valid internet-address-list",
            ),
            (
                "auth.allow",
                "-5",
                "option auth.addr./b/1.allow -5: '-5' is not a valid internet-address-list",
            ),
            (
                "transport.listen-backlog",
                "x",
                "x is not a compatible value. transport.listen-backlog expects an integer value.",
            ),
        ] {
            assert_eq!(check(key, value), want, "{key} {value}");
        }
    }

    #[test]
    fn what_does_not_exist_can_only_stay_off() {
        assert_eq!(check("features.shard", "off"), "ok");
        assert_eq!(check("features.shard", "disable"), "ok");
        assert!(check("features.shard", "on").contains("not available"));
    }

    #[test]
    fn nothing_that_breaks_a_file_gets_in() {
        assert!(check("diagnostics.brick-log-level", "INFO\nx=1").contains("line feed"));
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("1.5MB"), Some(1_572_864));
        assert_eq!(parse_size("1kb"), Some(1024));
        assert_eq!(parse_size("9999999PB"), None);
        assert_eq!(parse_size("0x10"), None);
        assert_eq!(parse_size(""), None);
    }
}
