//! Money, counts, lengths of time, moments.

use std::time::Duration;

use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::time::Timestamp;

/// `$0.0123`, or `unpriced` when nobody knows.
pub(crate) fn money(cost: Cost) -> String {
    cost.micros().map_or_else(
        || "unpriced".to_owned(),
        |micros: Micros| micros.to_string(),
    )
}

/// `1,234 in, 56 out`, with `~` when estimated.
pub(crate) fn tokens(usage: &Usage) -> String {
    let about = if usage.estimated { "~" } else { "" };
    let input = usage
        .input
        .saturating_add(usage.cache_read)
        .saturating_add(usage.cache_write);
    let cached = match usage.cache_read {
        0 => String::new(),
        n => format!(" ({} cached)", grouped(n)),
    };
    format!(
        "{about}{} in{cached}, {about}{} out",
        grouped(input),
        grouped(usage.output)
    )
}

/// `12,345`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, c) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `820 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn duration(span: Duration) -> String {
    let ms = span.as_millis();
    let s = span.as_secs();
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        small => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match s {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", s, ms % 1000 / 100),
        10..60 => format!("{s} s"),
        60..3600 => pair(s / 60, "min", s % 60, "s"),
        3600..86_400 => pair(s / 3600, "h", s % 3600 / 60, "min"),
        _ => pair(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// `now`, `5 min ago`, `3 h ago`, `2 d ago`; the date when it is longer ago than a month.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let s = now.since(at).as_secs();
    match s {
        0..5 => "now".to_owned(),
        5..60 => format!("{s} s ago"),
        60..3600 => format!("{} min ago", s / 60),
        3600..86_400 => format!("{} h ago", s / 3600),
        86_400..2_592_000 => format!("{} d ago", s / 86_400),
        _ => at
            .rfc3339()
            .split('T')
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// `in 5 min`, or `passed`.
pub(crate) fn in_time(at: Timestamp, now: Timestamp) -> String {
    let left = at.since(now);
    if left.is_zero() {
        return "passed".to_owned();
    }
    if Timestamp::FAR <= at {
        return "never".to_owned();
    }
    format!(
        "in {}",
        duration(Duration::from_secs(left.as_secs().max(1)))
    )
}

/// `2026-01-31 09:30:05 UTC`.
pub(crate) fn when(at: Timestamp) -> String {
    let text = at.rfc3339();
    let text = text.split('.').next().unwrap_or_default();
    format!("{} UTC", text.replace('T', " "))
}

/// A size as people read it: `1.2 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut left = bytes;
    let mut before = 0;
    for unit in ["bytes", "KB", "MB", "GB"] {
        if left < 1_000 {
            return match unit {
                "bytes" => format!("{left} {unit}"),
                _ => format!("{left}.{} {unit}", before / 100),
            };
        }
        (before, left) = (left % 1_000, left / 1_000);
    }
    format!("{left}.{} TB", before / 100)
}

/// `1 thread`, `2 threads`.
pub(crate) fn words(n: u64, one: &str, many: &str) -> String {
    if n == 1 {
        format!("1 {one}")
    } else {
        format!("{} {many}", grouped(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        let shown = [0, 999, 1_000, 1_234_567, 5_000_000_000, 2_500_000_000_000].map(size);
        assert_eq!(
            shown,
            [
                "0 bytes",
                "999 bytes",
                "1.0 KB",
                "1.2 MB",
                "5.0 GB",
                "2.5 TB"
            ]
        );
    }

    #[test]
    fn lengths_of_time_have_two_units_at_most() {
        let shown = |ms| duration(Duration::from_millis(ms));
        assert_eq!(shown(820), "820 ms");
        assert_eq!(shown(4_250), "4.2 s");
        assert_eq!(shown(200_000), "3 min 20 s");
        assert_eq!(shown(7_500_000), "2 h 5 min");
        assert_eq!(shown(86_400_000), "1 d");
    }

    #[test]
    fn moments_are_relative_for_a_month() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let shown = |s: u64| ago(now.minus(Duration::from_secs(s)), now);
        assert_eq!(shown(1), "now");
        assert_eq!(shown(300), "5 min ago");
        assert_eq!(shown(90_000), "1 d ago");
        assert_eq!(shown(40 * 86_400), "2026-12-06");
        assert_eq!(
            in_time(now.plus(Duration::from_secs(600)), now),
            "in 10 min"
        );
        assert_eq!(in_time(now, now), "passed");
    }

    #[test]
    fn money_that_is_not_known_is_never_zero() {
        assert_eq!(
            money(Cost::Priced {
                micros: Micros(12_345)
            }),
            "$0.0123"
        );
        assert_eq!(money(Cost::Unpriced), "unpriced");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(words(1, "run", "runs"), "1 run");
    }

    #[test]
    fn cached_tokens_are_part_of_the_input() {
        let usage = Usage {
            input: 1_000,
            output: 5,
            cache_read: 500,
            cache_write: 0,
            estimated: true,
        };
        assert_eq!(tokens(&usage), "~1,500 in (500 cached), ~5 out");
    }
}
