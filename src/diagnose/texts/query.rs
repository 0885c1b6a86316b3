//! The query.

use super::Texts;

pub(in super::super) const ADDED: Texts = Texts {
    sentence: "The request has query parameters that were not signed.",
    explanation: "Every parameter of the request is part of the canonical request. A proxy, a redirect or the\n\
                  HTTP library added one after signing.",
    fix: "Sign the URL that is sent, with all its parameters.",
    code: CODE,
};

pub(in super::super) const REMOVED: Texts = Texts {
    sentence: "Query parameters that were signed did not arrive.",
    explanation: "A proxy, a cache or the HTTP library removed a parameter after signing, such as one without a\n\
                  value.",
    fix: "Sign the URL that is sent, without other parameters.",
    code: CODE,
};

pub(in super::super) const CHANGED: Texts = Texts {
    sentence: "A query parameter that was signed has another value when it arrives.",
    explanation: "A proxy or the HTTP library changed the parameter after signing, or the URL was built a second\n\
                  time, with other values such as the time.",
    fix: "Sign the URL that is sent.",
    code: CODE,
};

pub(in super::super) const MISSING: Texts = Texts {
    sentence: "The request has a query, and none was signed.",
    explanation: "The third line of the canonical request is the query, encoded and sorted. Signers that take the\n\
                  path and the parameters separately sign an empty line if the parameters are in the URL.",
    fix: "Put the canonical query into the third line.",
    code: CODE,
};

pub(in super::super) const BARE_NAME: Texts = Texts {
    sentence: "A query parameter without a value was signed without its equals sign.",
    explanation: "In the canonical request, ?flag is written flag=, with an empty value. Many URL libraries keep the\n\
                  name alone.",
    fix: BUILD,
    code: CODE,
};

pub(in super::super) const LOWER_HEX: Texts = Texts {
    sentence: "The escapes in the signed query are written in lower case.",
    explanation: "In the canonical request, the digits of escapes are in upper case: %2F, not %2f. AWS decodes\n\
                  the query and encodes it again, whatever was sent.",
    fix: BUILD,
    code: CODE,
};

pub(in super::super) const PLUS: Texts = Texts {
    sentence: "A plus sign in the query was not signed as the space that AWS reads.",
    explanation: "AWS reads + in a query as a space, and writes it %20 in the canonical request; a real plus sign\n\
                  is %2B. Form encoders write + for a space, and botocore signs it unchanged.",
    fix: "Send spaces as %20 and plus signs as %2B.",
    code: &[
        (
            "Python",
            "query = urllib.parse.urlencode(params, quote_via=urllib.parse.quote)",
        ),
        (
            "JavaScript",
            "const query = new URLSearchParams(params).toString().replaceAll(\"+\", \"%20\");",
        ),
    ],
};

pub(in super::super) const UNSORTED: Texts = Texts {
    sentence: "The parameters of the signed query are not sorted.",
    explanation: "In the canonical request, parameters are sorted by their encoded name, then by their encoded\n\
                  value, by bytes: A-Z before a-z. The order in the URL may stay as it is.",
    fix: BUILD,
    code: CODE,
};

pub(in super::super) const NOT_ENCODED: Texts = Texts {
    sentence: "The signed query is not encoded as AWS encodes it.",
    explanation: "In the canonical request, every byte of a name or value except A-Z a-z 0-9 - _ . ~ is written as\n\
                  %XX. Also ! ' ( ) * / : = are encoded, which many URL libraries leave as they are.",
    fix: BUILD,
    code: CODE,
};

pub(in super::super) const ENCODED_TWICE: Texts = Texts {
    sentence: "The query was encoded twice.",
    explanation: "Unlike the path, the query is encoded once. The signer encoded parameters that were encoded\n\
                  already, so % became %25.",
    fix: "Decode the parameters before encoding them for the signature.",
    code: CODE,
};

const BUILD: &str = "Build the canonical query from the decoded parameters: encode, then sort.";
const CODE: &[(&str, &str)] = &[
    (
        "Python",
        "q = lambda text: urllib.parse.quote(text, safe=\"-_.~\")\npairs = urllib.parse.parse_qsl(urlsplit(url).query, keep_blank_values=True)\n\
         canonical_query = \"&\".join(f\"{k}={v}\" for k, v in sorted((q(k), q(v)) for k, v in pairs))",
    ),
    (
        "JavaScript",
        "const q = (t) => encodeURIComponent(t).replace(/[!'()*]/g, (c) => \"%\" + c.charCodeAt(0).toString(16).toUpperCase());\n\
         const pairs = [...new URL(url).searchParams].map(([k, v]) => [q(k), q(v)]);\n\
         const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);\n\
         const canonicalQuery = pairs.sort(([a, x], [b, y]) => byText(a, b) || byText(x, y)).map((p) => p.join(\"=\")).join(\"&\");",
    ),
];
