//! Reads an answer of AWS from whatever people paste.

use super::http_text::{self, Message};
use super::json_errors::Found;
use super::request::{ReadHead, read_request};
use super::terminal::{self, Verbose};
use super::{Headers, InputError, MAX_INPUT, curl, har, literal};
use crate::diagnose::elsewhere::shows_only_status;
use crate::diagnose::evidence::{Answer, Request};

/// An answer, and the request if the same text contains it.
#[derive(Debug, Default)]
pub struct ReadAnswer {
    pub answer: Answer,
    pub request: Option<Request>,
}

/// Reads pasted text, a whole HTTP response, the output of `curl -v`, a HAR entry or a realtime message.
pub fn read_answer(text: &str) -> Result<ReadAnswer, InputError> {
    if text.len() > MAX_INPUT {
        return Err(InputError::TooLarge);
    }
    let text = &*literal::without_lone_surrogates(text);
    if let Some(exchange) = har::exchange(text)? {
        return Ok(ReadAnswer {
            answer: exchange.answer,
            request: Some(exchange.request),
        });
    }
    let verbose = terminal::verbose(text).or_else(|| terminal::http_client(text));
    if let Some(Verbose {
        response: Some(response),
        request,
    }) = verbose
    {
        return Ok(ReadAnswer {
            answer: response_of(&response),
            // A request without its body may be in the command above the output.
            request: request.and_then(|_| read_request(text).ok()),
        });
    }
    let clean = terminal::clean(text);
    if clean.trim().is_empty() {
        return Err(InputError::Empty);
    }
    let is_status = |line: &str| http_text::status(line.trim()).is_some();
    if let Some(response) = http_text::from_last_line(&clean, is_status) {
        let before = clean.len() - response.len();
        let before = clean.get(..before).unwrap_or_default();
        let request = ReadHead::find(before).map(ReadHead::into_request);
        return Ok(ReadAnswer {
            answer: response_of(response),
            request,
        });
    }
    let is_request = |line: &str| http_text::method_and_target(line).is_some();
    let is_request = is_request(http_text::line(&clean).0) && !shows_only_status(&clean);
    if is_request && let Some(answer) = of_console(&clean) {
        return Ok(ReadAnswer {
            answer,
            request: None,
        });
    }
    if curl::begins(&clean) || is_request {
        return Err(InputError::NotAnswer);
    }
    Ok(ReadAnswer {
        answer: bare(&clean),
        request: None,
    })
}

/// Reads an answer that Postman's console copied below its request: the status is a line of its own.
fn of_console(text: &str) -> Option<Answer> {
    let (status, at) = text.lines().skip(1).find_map(|line| {
        let status = line.trim().parse::<u16>().ok()?;
        (400..600).contains(&status).then_some((status, line))
    })?;
    // A line is a part of the text.
    let end = text.find(&format!("\n{at}"))? + 1 + at.len();
    let body = Found::new(text.get(end..)?).body?;
    Some(Answer {
        status: Some(status),
        body,
        ..Answer::default()
    })
}

/// Reads a response that begins with its status line.
fn response_of(text: &str) -> Answer {
    let Message {
        first_line,
        headers,
        body,
    } = http_text::message(text.trim_start());
    Answer {
        status: http_text::status(first_line.trim()),
        headers,
        body: body.unwrap_or_default().trim().to_owned(),
    }
}

/// Reads a text without a status line: headers and a body, JSON, or an error message that contains one.
fn bare(text: &str) -> Answer {
    let is_header = |line: &str| {
        let name = http_text::name_and_value(line).map(|(name, _)| name.to_ascii_lowercase());
        name.is_some_and(|name| name.starts_with("x-amzn-") || name == "content-type")
    };
    let (headers, text) = match http_text::from_first_line(text, is_header) {
        Some(rest) => {
            let (headers, body) = http_text::headers(rest);
            (headers, body.unwrap_or_default())
        }
        None => (Headers::new(), text),
    };
    let found = Found::new(text);
    let body = found.body.unwrap_or_else(|| plain(text));
    Answer {
        status: found.status.or_else(|| status_in(text)),
        headers,
        body,
    }
}

/// Returns a text that is not JSON, with the escapes of a print-out undone.
fn plain(text: &str) -> String {
    if let Some(value) = literal::value(text) {
        return value;
    }
    let has_escapes = text.contains("\\n") || text.contains("\\u0027");
    if has_escapes {
        literal::printed(text)
    } else {
        text.to_owned()
    }
}

/// Returns the status that an error message mentions: `status code 403`, `403 Client Error`, `HTTP 403`.
fn status_in(text: &str) -> Option<u16> {
    let words: Vec<&str> = text.split_ascii_whitespace().take(200).collect();
    let bare = |word: &str| {
        let word = word.trim_matches(|char: char| !char.is_ascii_alphanumeric());
        word.to_ascii_lowercase()
    };
    let is_before = |word: &str| {
        matches!(
            word,
            "http" | "status" | "code" | "statuscode" | "error" | "response" | "failed" | "of"
        ) || word.starts_with("http")
    };
    let is_after = |word: &str| {
        matches!(
            word,
            "client" | "server" | "forbidden" | "unauthorized" | "bad" | "error"
        )
    };
    words.iter().enumerate().find_map(|(at, word)| {
        let status: u16 = bare(word).parse().ok()?;
        let before = at
            .checked_sub(1)
            .and_then(|at| words.get(at))
            .map(|word| bare(word));
        let after = words.get(at + 1).map(|word| bare(word));
        let fits = before.is_some_and(|word| is_before(&word))
            || after.is_some_and(|word| is_after(&word));
        ((400..600).contains(&status) && fits).then_some(status)
    })
}
