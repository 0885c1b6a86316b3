//! Values: durations, sizes, counts, filters, and the variables of OpenTelemetry.

use super::*;

#[test]
fn settings_of_traces_override_opentelemetry_variables() {
    let none = "None";
    let some = |endpoint: &str, ratio: &str| {
        format!("Some(TraceConfig {{ endpoint: {endpoint}, ratio: {ratio}, headers_file: None }})")
    };
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318/");
    let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/x");
    let ours = ("COUNTERSIGN_TRACES__ENDPOINT", "https://c");
    let a = some("http://a:4318/v1/traces", "1.0");
    let b = some("http://b/x", "1.0");
    let c = some("https://c/v1/traces", "1.0");
    for (environment, expected) in [
        (&[][..], none),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], none),
        (&[base], &a),
        (&[base, whole], &b),
        (&[whole, base, ours], &c),
        (&[base, ("COUNTERSIGN_TRACES__ENDPOINT", "off")], none),
        (&[base, ("OTEL_SDK_DISABLED", "TRUE")], none),
        (&[base, ("OTEL_SDK_DISABLED", "false")], &a),
        (&[base, ("OTEL_TRACES_EXPORTER", "none")], none),
        (&[base, ("OTEL_TRACES_EXPORTER", "otlp")], &a),
        (&[ours, ("OTEL_SDK_DISABLED", "true")], &c),
        (
            &[ours, ("OTEL_TRACES_SAMPLER", "parentbased_always_off")],
            &some("https://c/v1/traces", "0.0"),
        ),
        (
            &[
                ours,
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ],
            &some("https://c/v1/traces", "0.25"),
        ),
        (
            &[
                ours,
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("COUNTERSIGN_TRACES__RATIO", "0.5"),
            ],
            &some("https://c/v1/traces", "0.5"),
        ),
    ] {
        let all = environment.iter();
        let input = all.fold(input(), |input, (name, value)| input.env(name, value));
        resolves(&input, "traces", expected);
    }
    rejects(
        &file("[traces]\nendpoint = \"localhost:4318\"\nratio = 2"),
        &[
            "FILE:2: `traces.endpoint`: invalid URL \"localhost:4318\": expected a collector's URL, such as http://127.0.0.1:4318, or \"off\"",
            "FILE:3: `traces.ratio`: invalid number \"2\": expected a number from 0 to 1",
        ],
    );
    for url in ["http://key@a", "http://a/?key=1"] {
        rejects(
            &env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            &[
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: must not contain a password or a query: put keys into `headers_file`",
            ],
        );
    }
}

#[test]
fn memory_is_auto_off_or_at_least_32_mib() {
    let memory = |text| env("COUNTERSIGN_LIMITS__MEMORY", text);
    resolves(&input(), "limits.memory", "Auto");
    resolves(&memory("off"), "limits.memory", "Off");
    resolves(&memory("32MiB"), "limits.memory", "Bytes(33554432)");
    let input = "COUNTERSIGN_LIMITS__MEMORY: ";
    for text in ["31MiB", "1"] {
        let expected = format!("{input}must be at least 32MiB");
        rejects(&memory(text), &[&expected]);
    }
    for text in ["on", "0", "-1"] {
        let expected = format!(
            "{input}invalid value {text:?}: expected \"auto\", \"off\" or a size, such as \"256MiB\""
        );
        rejects(&memory(text), &[&expected]);
    }
}

#[test]
fn the_admin_listener_has_an_address_or_is_off() {
    rejects(
        &env("COUNTERSIGN_ADMIN", "no"),
        &[
            "COUNTERSIGN_ADMIN: invalid address \"no\": expected an IP address with a port, such as 127.0.0.1:4101, or \"off\"",
        ],
    );
}

#[test]
fn invalid_durations_are_rejected() {
    rejects(
        &env("COUNTERSIGN_DRAIN__TIMEOUT", "5"),
        &["COUNTERSIGN_DRAIN__TIMEOUT: invalid duration \"5\": add a unit, such as 5s"],
    );
    for text in ["", "s", "-1s", "1 parsec", "99999999999999999999s"] {
        rejects(
            &env("COUNTERSIGN_DRAIN__TIMEOUT", text),
            &[&format!(
                "COUNTERSIGN_DRAIN__TIMEOUT: invalid duration {text:?}: expected a number with a unit, such as 250ms, 5s or 2m"
            )],
        );
    }
    rejects(
        &file("[drain]\ntimeout = 5"),
        &["FILE:2: `drain.timeout`: invalid duration \"5\": add a unit, such as 5s"],
    );
    rejects(
        &file("[drain]\ntimeout = \"0s\""),
        &["FILE:2: `drain.timeout`: must be more than zero"],
    );
}

/// A duration that is too long for a clock made the program panic at its first client.
#[test]
fn durations_beyond_365_days_are_rejected() {
    for text in ["18446744073709551615s", "366days"] {
        rejects(
            &env("COUNTERSIGN_TIMEOUTS__INIT", text),
            &["COUNTERSIGN_TIMEOUTS__INIT: must be at most 365 days"],
        );
    }
    resolves(
        &env("COUNTERSIGN_TIMEOUTS__INIT", "365days"),
        "timeouts.init",
        "31536000s",
    );
}

#[test]
fn invalid_sizes_are_rejected() {
    for text in [
        "",
        "0",
        "-1",
        "1.5MiB",
        "MiB",
        "1TB",
        "1é",
        "1 M iB",
        "99999999999GiB",
    ] {
        rejects(
            &env("COUNTERSIGN_LIMITS__MESSAGE", text),
            &[&format!(
                "COUNTERSIGN_LIMITS__MESSAGE: invalid size {text:?}: expected a whole number above zero, or one with a unit, such as 64KiB or 1MiB"
            )],
        );
    }
    rejects(
        &file("[limits]\nrequest_head = \"4KiB\""),
        &["FILE:2: `limits.request_head`: must be at least 8KiB"],
    );
}

#[test]
fn invalid_counts_are_rejected() {
    for text in [
        "",
        "0",
        "-1",
        "1.5",
        "many",
        "1KiB",
        "0x10",
        "99999999999999999999",
    ] {
        rejects(
            &env("COUNTERSIGN_LIMITS__CONNECTIONS", text),
            &[&format!(
                "COUNTERSIGN_LIMITS__CONNECTIONS: invalid number {text:?}: expected a whole number above zero"
            )],
        );
    }
}

#[test]
fn a_log_filter_has_levels_and_targets() {
    let flag = |text: &str| input().flag("--log", "log.filter", &[text]);
    for text in [
        "off",
        "warn,countersign::realtime=debug",
        "countersign::sign",
        "INFO,hyper=warn,countersign_emulator::http=off",
    ] {
        resolves(&flag(text), "log.filter", text);
    }
    let refused = |text: &str, why: &str| {
        let input = format!("--log: invalid log filter {text:?}: {why}");
        rejects(&flag(text), &[&input]);
    };
    let expected = "expected error, warn, info, debug or trace, or levels by target, such as info,countersign::realtime=debug";
    for text in [
        "a=loud",
        "[{a=1}]=info",
        "[{rule}]=trace",
        "=",
        "",
        ",",
        "hyper",
    ] {
        refused(text, expected);
    }
    refused(
        "info,mine=debug",
        &format!("unknown target \"mine\"; {expected}"),
    );
    // Misspelt levels were names of targets, so that nothing was logged.
    for (text, near) in [
        ("debg", "debug"),
        ("info,countersign=wran", "warn"),
        ("warning", "warn"),
        ("=info", "info"),
        ("a=b=info", "info"),
        ("verbose", "debug"),
        ("info,countersing=debug", "countersign"),
        ("countersign::realtme=debug", "countersign::realtime"),
        (
            "countersign::realtime::driver=debug",
            "countersign::realtime",
        ),
        ("info,Hyper=warn", "hyper"),
    ] {
        refused(text, &format!("did you mean {near}?"));
    }
}
