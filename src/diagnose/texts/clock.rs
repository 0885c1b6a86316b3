//! The time of a signature.

use super::Texts;

pub(in super::super) const FAST: Texts = Texts {
    sentence: "The clock of the machine that signs is ahead of AWS's clock.",
    explanation: "AWS accepts signatures whose x-amz-date is at most five minutes away from its own time.\n\
                  A difference of whole hours is usually local time written with a Z, as if it were UTC;\n\
                  any other difference is a clock that is not synchronized. A container uses the clock of its\n\
                  host, and the clocks of WSL and of virtual machines stop while the computer sleeps.",
    fix: "Synchronize the clock, and format x-amz-date in UTC.",
    code: CLOCK_CODE,
};

pub(in super::super) const SLOW: Texts = Texts {
    sentence: "The signature is older than AWS accepts: the clock is behind, or the request was sent late.",
    explanation: "AWS accepts signatures whose x-amz-date is at most five minutes away from its own time.\n\
                  A difference of whole hours is usually local time written with a Z, as if it were UTC.\n\
                  A request that was signed once and is sent again later has the same error. A container uses\n\
                  the clock of its host; those of WSL and virtual machines stop while the computer sleeps.",
    fix: "Synchronize the clock, format x-amz-date in UTC, and sign each request when it is sent.",
    code: CLOCK_CODE,
};

pub(in super::super) const FORMAT: Texts = Texts {
    sentence: "The time of the signature is not in ISO 8601's basic format.",
    explanation: "x-amz-date is the time in UTC as YYYYMMDDTHHMMSSZ: without dashes, colons, fractions of a\n\
                  second and offsets. The format of the Date header is another one.",
    fix: "Format x-amz-date as YYYYMMDDTHHMMSSZ, such as 20260115T120000Z.",
    code: CODE,
};

pub(in super::super) const MISSING: Texts = Texts {
    sentence: "The request has neither an x-amz-date nor a Date header.",
    explanation: "AWS reads the time of the signature from a header of the request. Browsers and some HTTP\n\
                  libraries do not let programs set Date, so signers use x-amz-date.",
    fix: "Send the x-amz-date that was signed as a header.",
    code: CODE,
};

/// How to synchronize the clock, by system.
const SYNCHRONIZE: [(&str, &str); 4] = [
    ("Linux", "sudo timedatectl set-ntp true"),
    ("macOS", "sudo sntp -sS time.apple.com"),
    ("Windows, as administrator", "w32tm /resync"),
    ("WSL", "sudo hwclock -s"),
];
const CODE: &[(&str, &str)] = &[SHELL, PYTHON, JAVASCRIPT];
const CLOCK_CODE: &[(&str, &str)] = &[
    SYNCHRONIZE[0],
    SYNCHRONIZE[1],
    SYNCHRONIZE[2],
    SYNCHRONIZE[3],
    SHELL,
    PYTHON,
    JAVASCRIPT,
];
const SHELL: (&str, &str) = ("shell", "amz_date=$(date -u +%Y%m%dT%H%M%SZ)");
const PYTHON: (&str, &str) = (
    "Python",
    "from datetime import datetime, timezone\namz_date = datetime.now(timezone.utc).strftime(\"%Y%m%dT%H%M%SZ\")",
);
const JAVASCRIPT: (&str, &str) = (
    "JavaScript",
    "const amzDate = new Date().toISOString().replace(/[-:]|\\.\\d{3}/g, \"\");",
);

/// Returns how to synchronize the clock of this machine, with one line for each system.
pub fn synchronize_clock() -> String {
    let commands = SYNCHRONIZE.map(|(system, command)| format!("{system}: {command}"));
    format!(
        "Synchronize this machine's clock.\n{}\nContainer or virtual machine: synchronize the clock of its host.",
        commands.join("\n")
    )
}
