//! Profile files that botocore reads are read alike.

use super::sources::Expected::{Accepts, Uses};
use super::sources::{Row, check_rows, row};

const DEV: (&str, &str) = ("AWS_PROFILE", "dev");
const MY_DEV: (&str, &str) = ("AWS_PROFILE", "my dev");

fn credentials(name: &'static str, text: &'static str) -> Row {
    row(name, &[], "", text.as_bytes(), Uses("AKIDA"))
}

fn config(name: &'static str, profile: (&'static str, &'static str), text: &'static str) -> Row {
    row(name, &[profile], text, b"", Uses("AKIDA"))
}

fn files() -> Vec<Row> {
    vec![
        credentials(
            "blanks before the properties",
            "[default]\n  aws_access_key_id = AKIDA\n  aws_secret_access_key = s\n",
        ),
        credentials(
            "blank before the first property",
            "[default]\n aws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        credentials(
            "tabs",
            "[default]\n\taws_access_key_id\t=\tAKIDA\n\taws_secret_access_key\t=\ts\n",
        ),
        credentials(
            "key: value",
            "[default]\naws_access_key_id: AKIDA\naws_secret_access_key:s\n",
        ),
        credentials(
            "keys in capitals",
            "[default]\nAWS_ACCESS_KEY_ID = AKIDA\nAws_Secret_Access_Key = s\n",
        ),
        credentials(
            "text after ]",
            "[default] mine\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        credentials(
            "blank before [",
            "  [default]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        credentials(
            "CRLF",
            "[default]\r\naws_access_key_id = AKIDA\r\naws_secret_access_key = s\r\n",
        ),
        credentials(
            "CR",
            "[default]\raws_access_key_id = AKIDA\raws_secret_access_key = s\r",
        ),
        credentials(
            "CR CR LF",
            "[default]\r\r\naws_access_key_id = AKIDA\r\r\naws_secret_access_key = s\r\r\n",
        ),
        credentials(
            "comment before the first property",
            "[default]\n  # mine\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        credentials(
            "comments with blanks",
            "[default]\naws_access_key_id = AKIDA\n  # mine\naws_secret_access_key = s\n  ; mine\n",
        ),
        credentials(
            "no-break space at the end",
            "[default]\naws_access_key_id = AKIDA\u{a0}\naws_secret_access_key = s\n",
        ),
        credentials(
            "empty lines",
            "\n\n[default]\n\n\naws_access_key_id = AKIDA\n\naws_secret_access_key = s",
        ),
        credentials(
            "another section with blanks",
            "[my dev]\nregion = x\n[default]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        credentials(
            "aws_security_token",
            "[default]\naws_access_key_id = AKIDA\naws_secret_access_key = s\naws_security_token = t\n",
        ),
        row(
            "name with a blank in the credentials file",
            &[MY_DEV],
            "",
            b"[my dev]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
            Uses("AKIDA"),
        ),
        config(
            "double quotes",
            DEV,
            "[profile \"dev\"]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        config(
            "single quotes",
            DEV,
            "[profile 'dev']\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        config(
            "quoted name with a blank",
            MY_DEV,
            "[profile 'my dev']\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        config(
            "escaped blank",
            MY_DEV,
            "[profile my\\ dev]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        config(
            "name outside ASCII",
            ("AWS_PROFILE", "büro"),
            "[profile büro]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
        ),
        config(
            "name with a percent sign",
            ("AWS_PROFILE", "a%20b"),
            "[profile a%20b]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n\
             [profile \"a b\"]\naws_access_key_id = AKIDB\naws_secret_access_key = s\n",
        ),
        config(
            "nested values with blanks",
            DEV,
            "[profile dev]\n  s3 =\n    max_queue_size = 1\n  aws_access_key_id = AKIDA\n  aws_secret_access_key = s\n",
        ),
        row(
            "source_profile with a blank",
            &[("AWS_PROFILE", "dev")],
            "[profile dev]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = my base\n\
             [profile \"my base\"]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
            b"",
            Uses("AKIDROLE"),
        ),
        row(
            "process of a quoted profile",
            &[MY_DEV],
            "[profile \"my dev\"]\ncredential_process = cat $HOME/good.json\n",
            b"",
            Uses("AKIDPROCESS"),
        ),
        // botocore takes it for a part of the first line.
        row(
            "byte order mark",
            &[],
            "",
            b"\xef\xbb\xbf[default]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
            Accepts("AKIDA"),
        ),
        row(
            "byte order mark in the config file",
            &[DEV],
            "\u{feff}[profile dev]\naws_access_key_id = AKIDA\naws_secret_access_key = s\n",
            b"",
            Accepts("AKIDA"),
        ),
    ]
}

#[tokio::test]
async fn profile_files_are_read_as_botocore_reads_them() {
    check_rows("files", files()).await;
}
