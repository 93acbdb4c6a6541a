//! The addresses of an application: where people and tokens may be sent, and where people find it.
//! Later they are compared byte for byte, shown and followed, so what a lenient reader would repair
//! or hide is refused.

use url::{Host, Url};

use crate::domain::text::escapes;

/// A site's address at the most, characters.
const SITE_MAX: usize = 1000;
/// Schemes that run or show what they carry, wrap another address, or lead into the browser or the
/// machine instead of to an application.
const INLINE_SCHEMES: [&str; 9] = [
    "about",
    "blob",
    "data",
    "feed",
    "file",
    "filesystem",
    "javascript",
    "vbscript",
    "view-source",
];
/// Schemes whose addresses always name a host. The parser finds one behind any number of slashes; an
/// exact comparison does not.
const HOST_SCHEMES: [&str; 5] = ["http", "https", "ftp", "ws", "wss"];

/// The parts of a text that is an absolute URI (RFC 3986 section 4.3): it has a scheme, no fragment,
/// and no character that would have to be encoded.
pub(super) fn absolute_uri(text: &str) -> Option<Url> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    let is_written_out = text.bytes().all(is_plain)
        && escapes(text).all(|is_whole| is_whole)
        && !has_brackets_outside_host(text);
    let url = is_written_out.then(|| Url::parse(text).ok())??;
    let is_whole = match url.scheme() {
        scheme if HOST_SCHEMES.contains(&scheme) => names_host(text, scheme),
        scheme => !INLINE_SCHEMES.contains(&scheme),
    };
    (is_whole && url.fragment().is_none()).then_some(url)
}

/// True for https, and for http that does not leave the machine.
pub(super) fn is_safe_web(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        _ => false,
    }
}

/// True for the address of a site, which people read and follow: in any script, but without what
/// would break out of a page or show it as another than it is.
pub(super) fn is_site(text: &str) -> bool {
    let is_plain =
        |c: char| !(c.is_whitespace() || c.is_control() || is_format(c) || "\\<>\"".contains(c));
    text.chars().count() <= SITE_MAX
        && text.chars().all(is_plain)
        && Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && names_host(text, url.scheme())
        })
}

/// True when `scheme` is followed by two slashes and what is no third.
fn names_host(text: &str, scheme: &str) -> bool {
    text.get(scheme.len()..)
        .and_then(|rest| rest.strip_prefix("://"))
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

/// True for brackets anywhere but around an IP address (RFC 3986 section 3.2.2); within the host the
/// parser knows what they may hold.
fn has_brackets_outside_host(text: &str) -> bool {
    let after_scheme = text.split_once(':').map_or("", |(_, rest)| rest);
    let authority = after_scheme
        .strip_prefix("//")
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let count = |text: &str| text.matches(['[', ']']).count();
    count(text) != count(host)
}

/// Characters of Unicode's general category Cf, which are not seen themselves and may turn around or
/// hide what stands beside them.
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_addresses_are_absolute_and_have_no_fragment() {
        for uri in [
            "https://app.example.com/cb",
            "https://app.example.com/cb?a=b&c=%20",
            "https://app.example.com//cb",
            "HTTPS://app.example.com/%C3%a9",
            "http://127.0.0.1:9999/callback",
            "http://[::1]/",
            "http://[::1]:9999/cb?a=1",
            "https://user@[2001:db8::1]/",
            "com.example.app:/oauth2redirect",
            "com.example.app:///oauth2redirect",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert!(absolute_uri(uri).is_some(), "{uri:?}");
        }
        for uri in [
            "",
            "not a uri",
            "/cb",
            "//app.example.com/cb",
            "app.example.com/cb",
            "https:app.example.com/cb",
            "https:/app.example.com/cb",
            "https:///app.example.com/cb",
            "https:////app",
            "http:///127.0.0.1/",
            "ftp:///a.example/",
            "https://",
            "https://app.example.com/cb#",
            "https://app.example.com/cb#x",
            " https://app.example.com/cb",
            "https://app.example.com/c b",
            "https://app.example.com\\@evil.example/cb",
            "https://앱.example.com/cb",
            "https://app.example.com:99999/cb",
        ] {
            assert!(absolute_uri(uri).is_none(), "{uri:?}");
        }
    }

    #[test]
    fn redirect_addresses_hold_whole_escapes_and_no_stray_brackets() {
        for uri in [
            "https://a.example/%zz",
            "https://a.example/%",
            "https://a.example/%4",
            "https://a.example/?a=%2&b=%g0",
            "com.example.app:/%zz",
            "https://a.example/[x]",
            "https://a.example/?a[]=1",
            "https://[a@[::1]/",
            "https://[::1]/]",
            "https://[::1/",
            "https://[nonsense]/",
            "com.example.app:/[x]",
            "com.example.app:x//[::1]",
        ] {
            assert!(absolute_uri(uri).is_none(), "{uri:?}");
        }
    }

    #[test]
    fn redirect_addresses_lead_to_an_application() {
        for uri in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "about:blank",
            "blob:https://a.example/1",
            "filesystem:https://a.example/temporary/1",
            "view-source:https://a.example/",
            "feed:javascript:alert(1)",
        ] {
            assert!(absolute_uri(uri).is_none(), "{uri:?}");
        }
    }

    #[test]
    fn after_signing_out_people_are_sent_over_tls_or_stay_on_their_machine() {
        let is_safe = |uri| absolute_uri(uri).is_some_and(|url| is_safe_web(&url));
        for uri in
            ["https://a.example/", "http://localhost:3000/", "http://127.1.2.3/", "http://[::1]/"]
        {
            assert!(is_safe(uri), "{uri:?}");
        }
        for uri in
            ["http://a.example/", "http://localhost.example/", "http://10.0.0.1/", "myapp:/x"]
        {
            assert!(!is_safe(uri), "{uri:?}");
        }
    }

    #[test]
    fn a_site_is_on_the_web() {
        for text in [
            "https://app.example.com",
            "http://앱.example.com/#/home",
            "https://a.example/가나?다=[라]&q='x'",
        ] {
            assert!(is_site(text), "{text:?}");
        }
        let long = format!("https://a.example/{}", "x".repeat(SITE_MAX));
        for text in [
            "",
            "app.example.com",
            "ftp://a.example",
            "https://a b",
            "javascript:x",
            "https:a.example",
            "https:/a.example",
            "https:///a.example",
            "https:\\\\a.example",
            "https://a.example\\@b.example/",
            &long,
        ] {
            assert!(!is_site(text), "{text:?}");
        }
    }

    #[test]
    fn a_site_is_shown_as_what_it_is() {
        for text in [
            "https://a.example/<script>",
            "https://a.example/\"onclick=\"x",
            "https://a.example/\u{202e}gpj.exe",
            "https://a.exam\u{200b}ple/",
            "https://a.example/\u{feff}",
            "https://a.example/\u{e0041}",
            "https://a.example/\u{a0}x",
            "https://a.example/\u{3000}",
            "https://a.example/\n",
            "https://a.example/\u{7f}",
            "https://a.example/\u{85}",
        ] {
            assert!(!is_site(text), "{text:?}");
        }
    }
}
