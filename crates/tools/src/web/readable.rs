//! HTML from strangers as Markdown.

use std::sync::LazyLock;

use htmd::HtmlToMarkdown;
use regex::Regex;

/// Deepest nesting that is converted. The converter descends once per level; a page of real text has some dozens.
const DEPTH_MAX: usize = 512;

/// Parts of a page that are no text, with all they hold.
const NOISE: [&str; 11] = [
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas",
    "select", "head",
];

/// Parts that are about the site and not about the page.
const AROUND: [&str; 5] = ["nav", "footer", "aside", "form", "button"];

/// Elements without an end tag.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];

/// Elements whose end tag is often left out because the next one ends them.
const SELF_ENDING: [&str; 10] = [
    "p", "li", "dt", "dd", "tr", "td", "th", "option", "thead", "tbody",
];

/// Elements that end tags do not reach across.
const BARRIERS: [&str; 7] = [
    "table", "td", "th", "caption", "object", "marquee", "template",
];

static TAG: LazyLock<Regex> = LazyLock::new(|| pattern(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]*)([^>]*)>"));
static TITLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?is)<title[^>]*>(.*?)</title"));
static GAPS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\n[ \t]*\n(?:[ \t]*\n)+"));

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("the pattern is a constant, and the tests of this file use it")
}

/// The text of a page as Markdown, its title first.
pub(super) fn markdown(html: &str) -> String {
    let title = TITLE
        .captures(html)
        .and_then(|it| it.get(1))
        .map(|it| one_line(&plain(it.as_str())));
    let html = without_noise(html);
    let body = if depth(&html) <= DEPTH_MAX {
        convert(&html)
    } else {
        plain(&html)
    };
    let body = GAPS.replace_all(body.trim(), "\n\n").into_owned();
    match title.filter(|it| !it.is_empty()) {
        Some(title) if !body.starts_with(&format!("# {title}")) => format!("# {title}\n\n{body}"),
        Some(_) | None => body,
    }
}

fn convert(html: &str) -> String {
    let converter = HtmlToMarkdown::builder()
        .skip_tags(NOISE.into_iter().chain(AROUND).collect())
        .build();
    converter.convert(html).unwrap_or_else(|_error| plain(html))
}

/// Text between tags, for pages that cannot be converted and for titles.
fn plain(html: &str) -> String {
    let text = TAG.replace_all(html, " ");
    let mut out = text.into_owned();
    for (entity, char) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        out = out.replace(entity, char);
    }
    out
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Drops comments and the parts that are no text, before anything is parsed.
fn without_noise(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let lower = html.to_ascii_lowercase();
    let mut at = 0;
    while let Some(open) = lower[at..].find('<').map(|it| at + it) {
        out.push_str(&html[at..open]);
        let rest = &lower[open..];
        let noise = NOISE.iter().find(|name| opens(rest, name));
        // Without its end, noise goes on to the end of the page, as it does in a browser.
        let end = if rest.starts_with("<!--") {
            rest.find("-->").map_or(rest.len(), |it| it + 3)
        } else if let Some(name) = noise {
            let close = format!("</{name}");
            rest.find(&close).map_or(rest.len(), |it| {
                rest[it..].find('>').map_or(rest.len(), |gt| it + gt + 1)
            })
        } else {
            out.push('<');
            1
        };
        at = open + end;
    }
    out.push_str(&html[at..]);
    out
}

/// Whether `rest` begins with the start tag `name`.
fn opens(rest: &str, name: &str) -> bool {
    rest.strip_prefix('<')
        .and_then(|it| it.strip_prefix(name))
        .and_then(|it| it.chars().next())
        .is_some_and(|it| it == '>' || it == '/' || it.is_ascii_whitespace())
}

/// How deep the elements nest, rather too much than too little.
fn depth(html: &str) -> usize {
    let mut open: Vec<String> = Vec::new();
    let mut deepest = 0;
    for tag in TAG.captures_iter(html) {
        let name = tag[2].to_ascii_lowercase();
        if VOID.contains(&name.as_str()) {
            continue;
        }
        if !tag[1].is_empty() {
            let reach = open
                .iter()
                .rposition(|it| BARRIERS.contains(&it.as_str()) && *it != name)
                .unwrap_or(0);
            if let Some(at) = open
                .iter()
                .rposition(|it| *it == name)
                .filter(|at| reach <= *at)
            {
                open.truncate(at);
            }
        } else {
            if SELF_ENDING.contains(&name.as_str()) && open.last() == Some(&name) {
                open.pop();
            }
            open.push(name);
            deepest = deepest.max(open.len());
            if DEPTH_MAX < deepest {
                return deepest;
            }
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_markdown_without_its_noise() {
        let page = "<html><head><title>A &amp; B</title><style>p{}</style></head><body><nav><a href=/>Home</a></nav>\
            <!-- secret --><h1>News</h1><p>One <b>bold</b> <a href=\"/x\">word</a>.<p>Two.\
            <script>let x = '<p>no</p>';</script><ul><li>a<li>b</ul><footer>legal</footer></body></html>";
        let text = markdown(page);
        assert!(text.starts_with("# A & B\n\n# News"), "{text}");
        assert!(text.contains("One **bold** [word](/x)."), "{text}");
        assert!(text.contains("Two.") && text.contains("a\n"), "{text}");
        for noise in ["Home", "secret", "no", "legal", "p{}"] {
            assert!(!text.contains(noise), "{noise} in {text}");
        }
    }

    #[test]
    fn a_page_that_nests_without_end_is_read_as_plain_text() {
        let page = format!(
            "{}deep{}",
            "<div>".repeat(300_000),
            "</div>".repeat(300_000)
        );
        assert_eq!(markdown(&page), "deep");
        let hidden = format!("{}deep", "<div><object>x</div>".repeat(300_000));
        assert!(markdown(&hidden).len() < 10 << 20);
        let sneaky = format!("{}deep", "<div><table></div>".repeat(100_000));
        assert!(markdown(&sneaky).contains("deep"));
    }

    #[test]
    fn lists_without_end_tags_are_not_deep() {
        let page = format!("<ul>{}</ul>", "<li>item<p>text".repeat(10));
        assert!(depth(&page) <= 32);
        assert!(depth(&format!("<ul>{}</ul>", "<li>item".repeat(5_000))) <= 3);
    }

    #[test]
    fn odd_markup_is_not_fatal() {
        for page in [
            "",
            "<",
            "<script",
            "<!--",
            "a<b",
            "<p",
            "é<é>é",
            "</div></div>",
            "<title>",
            "&amp;&#39;",
        ] {
            markdown(page);
        }
    }
}
