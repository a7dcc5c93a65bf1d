//! The middle and the tail of what was measured: one way of picking them for the whole lab.

use std::cmp::Ordering;

/// The value of the nearest rank that `percent` of 100 do not pass. None: nothing was measured.
pub(crate) fn percentile<T: Copy + PartialOrd>(values: &[T], percent: usize) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent + 50) / 100).copied()
}

/// The middle; not a number when nothing was measured, so that no goal is met by it.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_tail_do_not_depend_on_the_order() {
        let values: Vec<u64> = (0..=100).rev().collect();
        assert_eq!(percentile(&values, 0), Some(0));
        assert_eq!(percentile(&values, 50), Some(50));
        assert_eq!(percentile(&values, 99), Some(99));
        assert_eq!(percentile(&values, 100), Some(100));
    }

    #[test]
    fn nothing_has_no_middle() {
        assert_eq!(percentile::<u64>(&[], 50), None);
        assert!(median(&[]).is_nan());
    }
}
