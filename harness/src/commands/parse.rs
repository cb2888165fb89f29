//! Values of options that several commands share, each with an error that says what is accepted.

use kernels::{Backend, Precision};
use std::time::Duration;

/// A row of the kernels' table that this CPU supports.
pub fn row(name: &str) -> Result<&'static Backend, String> {
    let names = || Backend::supported().map(Backend::name).collect::<Vec<_>>().join(", ");
    Backend::by_name(name).map_err(|_| format!("the rows of this CPU are {}", names()))
}

/// The name of a precision.
pub fn precision(name: &str) -> Result<Precision, String> {
    let names = || Precision::ALL.map(Precision::name).join(", ");
    Precision::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| format!("the precisions are {}", names()))
}

/// A time of up to a day.
pub fn seconds(text: &str) -> Result<Duration, String> {
    const MOST: f64 = 86_400.0;
    let seconds = text.parse().ok().filter(|seconds| (0.0..=MOST).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("a number of seconds from 0 to {MOST} is needed"))
}

/// A learning rate.
pub fn rate(text: &str) -> Result<f32, String> {
    let rate = text.parse().ok().filter(|rate: &f32| *rate > 0.0 && rate.is_finite());
    rate.ok_or_else(|| format!("a number above 0 and up to {:.1e} is needed", f32::MAX))
}

/// A part of all, from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1 is needed".to_owned())
}

/// A part at each end of all, from 0 up to a half.
pub fn tail(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..0.5).contains(share));
    share.ok_or_else(|| "a number from 0 up to, not including, 0.5 is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(["-1", "1e300", "nan", "x"].iter().all(|text| seconds(text).is_err()));
        assert_eq!(rate("1e-3"), Ok(0.001));
        assert!(["-1", "0", "1e39", "nan", ""].iter().all(|text| rate(text).is_err()));
        assert_eq!((share("1"), tail("0.25")), (Ok(1.0), Ok(0.25)));
        assert!(["-0.1", "1.1", "nan"].iter().all(|text| share(text).is_err()) && tail("0.5").is_err());
        assert_eq!(row("plain").map(|row| row.name()), Ok("plain"));
        assert!(row("sse9").is_err_and(|why| why.contains("plain")) && precision("f31").is_err());
    }
}
