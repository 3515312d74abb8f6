//! Sizes and durations as text for people.

use std::time::Duration;

use jiff::Timestamp;

/// `148.2 MB`: decimal units, as object stores bill them.
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => {
            let tenths = bytes / (size / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// `8s`, `2m 05s`, `1h 02m`.
pub(crate) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

/// Returns the time without the fraction of its second, which some stores do not have.
pub(crate) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        let sizes = [0, 999, 1_000, 148_234_567, 2_000_000_000].map(bytes_text);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "148.2 MB", "2.0 GB"]);
        let times = [8, 125, 3725].map(|s| duration_text(Duration::from_secs(s)));
        assert_eq!(times, ["8s", "2m 05s", "1h 02m"]);
    }

    #[test]
    fn the_fraction_of_a_second_is_cut() {
        let time: Timestamp = "2026-11-30T07:24:51.987Z".parse().unwrap();
        assert_eq!(whole_second(time).to_string(), "2026-11-30T07:24:51Z");
    }
}
