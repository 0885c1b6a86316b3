//! Kinds of metrics beside those of `prometheus_client`.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// A gauge whose value is not an integer.
pub(super) type FloatGauge = Gauge<f64, AtomicU64>;

/// Increments a gauge, and decrements it when the guard is dropped.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Returns a histogram for durations between milliseconds and seconds.
pub(super) fn slow() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

/// Returns a histogram for durations that are normally a few microseconds.
pub(super) fn quick() -> Histogram {
    Histogram::new([
        0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.01, 0.1, 1.0, 5.0,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_is_counted_until_it_is_dropped() {
        let gauge = Gauge::default();
        let (one, two) = (GaugeGuard::new(&gauge), GaugeGuard::new(&gauge));
        assert_eq!(gauge.get(), 2);
        drop(one);
        drop(two);
        assert_eq!(gauge.get(), 0);
    }
}
