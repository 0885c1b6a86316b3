//! Readings of `/proc`.

use rustix::time::{ClockId, clock_gettime};

/// What `/proc` shows of this process.
#[derive(Debug)]
pub(super) struct Readings {
    pub(super) open_files: Option<i64>,
    pub(super) usage: Option<Usage>,
}

#[derive(Debug)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) threads: i64,
    /// In seconds since the Unix epoch.
    pub(super) started: f64,
}

/// Fields of `/proc/self/stat` (proc_pid_stat(5)).
struct Stat {
    cpu_ticks: u64,
    threads: i64,
    /// Counted from the boot of the machine.
    start_ticks: u64,
}

pub(super) fn read() -> Readings {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let open = std::fs::read_dir("/proc/self/fd");
    Readings {
        // One of them is that of the directory itself.
        open_files: open.ok().map(|open| open.count() as i64 - 1),
        usage: Stat::read().map(|stat| Usage {
            cpu_seconds: stat.cpu_ticks as f64 / ticks,
            threads: stat.threads,
            started: boot_time() + stat.start_ticks as f64 / ticks,
        }),
    }
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Parses the text. The second field, the program's name, may contain any character.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first of them has number 3 in the manual page.
        let field = |number: usize| fields.get(number - 3);
        let count = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: count(14)? + count(15)?,
            threads: field(20)?.parse().ok()?,
            start_ticks: count(22)?,
        })
    }
}

/// Returns the boot time of the machine in seconds since the Unix epoch. `/proc/stat` is not used,
/// because it may be hidden.
fn boot_time() -> f64 {
    let seconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    seconds(ClockId::Realtime) - seconds(ClockId::Boottime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbered_as_in_the_manual_page() {
        let text = "17 (a) b) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 1234 56789 4321 \
                    18446744073709551615 1 1 0 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks, stat.threads), (300, 7));
        assert_eq!(stat.start_ticks, 1234);
        assert!(Stat::parse("17 (a) S 1").is_none());
    }
}
