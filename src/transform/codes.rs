//! Names of countries and states as the codes that Pinterest matches by: `us` and `ca`, not
//! `United States` and `California`.

use celes::Country;

/// What people write for a country beside its names and codes in ISO 3166.
const ALIASES: [(&str, &str); 12] = [
    ("uk", "gb"),
    ("wales", "gb"),
    ("northernireland", "gb"),
    ("uae", "ae"),
    ("korea", "kr"),
    ("southkorea", "kr"),
    ("republicofireland", "ie"),
    ("hongkongsar", "hk"),
    ("capeverde", "cv"),
    ("ivorycoast", "ci"),
    ("vatican", "va"),
    ("vaticancity", "va"),
];

/// The countries whose states have codes here.
pub(super) const WITH_STATES: [&str; 3] = ["us", "ca", "au"];

/// States, districts, territories and the three military regions, by ISO 3166-2:US and the United
/// States Postal Service.
const US: [(&str, &str); 60] = [
    ("al", "alabama"),
    ("ak", "alaska"),
    ("az", "arizona"),
    ("ar", "arkansas"),
    ("ca", "california"),
    ("co", "colorado"),
    ("ct", "connecticut"),
    ("de", "delaware"),
    ("fl", "florida"),
    ("ga", "georgia"),
    ("hi", "hawaii"),
    ("id", "idaho"),
    ("il", "illinois"),
    ("in", "indiana"),
    ("ia", "iowa"),
    ("ks", "kansas"),
    ("ky", "kentucky"),
    ("la", "louisiana"),
    ("me", "maine"),
    ("md", "maryland"),
    ("ma", "massachusetts"),
    ("mi", "michigan"),
    ("mn", "minnesota"),
    ("ms", "mississippi"),
    ("mo", "missouri"),
    ("mt", "montana"),
    ("ne", "nebraska"),
    ("nv", "nevada"),
    ("nh", "newhampshire"),
    ("nj", "newjersey"),
    ("nm", "newmexico"),
    ("ny", "newyork"),
    ("nc", "northcarolina"),
    ("nd", "northdakota"),
    ("oh", "ohio"),
    ("ok", "oklahoma"),
    ("or", "oregon"),
    ("pa", "pennsylvania"),
    ("ri", "rhodeisland"),
    ("sc", "southcarolina"),
    ("sd", "southdakota"),
    ("tn", "tennessee"),
    ("tx", "texas"),
    ("ut", "utah"),
    ("vt", "vermont"),
    ("va", "virginia"),
    ("wa", "washington"),
    ("wv", "westvirginia"),
    ("wi", "wisconsin"),
    ("wy", "wyoming"),
    ("dc", "districtofcolumbia"),
    ("dc", "washingtondc"),
    ("as", "americansamoa"),
    ("gu", "guam"),
    ("mp", "northernmarianaislands"),
    ("pr", "puertorico"),
    ("vi", "virginislands"),
    ("aa", "armedforcesamericas"),
    ("ae", "armedforceseurope"),
    ("ap", "armedforcespacific"),
];

/// Provinces and territories, by ISO 3166-2:CA.
const CA: [(&str, &str); 14] = [
    ("ab", "alberta"),
    ("bc", "britishcolumbia"),
    ("mb", "manitoba"),
    ("nb", "newbrunswick"),
    ("nl", "newfoundlandandlabrador"),
    ("nl", "newfoundland"),
    ("ns", "novascotia"),
    ("nt", "northwestterritories"),
    ("nu", "nunavut"),
    ("on", "ontario"),
    ("pe", "princeedwardisland"),
    ("qc", "quebec"),
    ("sk", "saskatchewan"),
    ("yt", "yukon"),
];

/// States and territories, by ISO 3166-2:AU.
const AU: [(&str, &str); 8] = [
    ("act", "australiancapitalterritory"),
    ("nsw", "newsouthwales"),
    ("nt", "northernterritory"),
    ("qld", "queensland"),
    ("sa", "southaustralia"),
    ("tas", "tasmania"),
    ("vic", "victoria"),
    ("wa", "westernaustralia"),
];

/// What the table of states says of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its code, in lower case.
    Code(&'static str),
    /// Of a country that has no table here.
    Elsewhere,
    Unknown,
}

/// The ISO 3166-1 alpha-2 code of a country, in lower case: of an English name, or an alpha-2 or
/// alpha-3 code in any case.
pub(super) fn country_code(text: &str) -> Option<String> {
    let without = |text: &str| text.split_once('(').map(|(before, _)| before.to_owned());
    let turned = |text: &str| {
        text.split_once(',')
            .map(|(name, of)| format!("{of} {name}"))
    };
    // As lists have them: `United States (US)`, `Korea, Republic of`.
    code_of(text)
        .or_else(|| code_of(&without(text)?))
        .or_else(|| code_of(&turned(text)?))
}

fn code_of(text: &str) -> Option<String> {
    let plain = plain(text);
    // Three digits are a code as well, which no customer writes: a number there is something else.
    if plain.is_empty() || plain.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Some((_, code)) = ALIASES.iter().find(|(alias, _)| *alias == plain) {
        return Some((*code).to_owned());
    }
    let found = match plain.len() {
        2 => Country::from_alpha2(&plain).ok(),
        3 => Country::from_alpha3(&plain).ok(),
        _ => None,
    };
    let named = |name: &str| {
        Country::from_name(name)
            .or_else(|_| Country::from_alias(name))
            .ok()
    };
    let found = found.or_else(|| named(&plain));
    let found = found.or_else(|| named(plain.strip_prefix("the")?));
    found.map(|country| country.alpha2.to_ascii_lowercase())
}

/// The code of a state in a country, which is a code as [`country_code`] gives it; without one in
/// any of those that have a table. Where two have the same code it is the same text.
pub(super) fn state_code(text: &str, country: Option<&str>) -> State {
    let tables: [(&str, &[(&str, &str)]); 3] = [("us", &US), ("ca", &CA), ("au", &AU)];
    if country.is_some_and(|country| !WITH_STATES.contains(&country)) {
        return State::Elsewhere;
    }
    let plain = plain(text);
    // Also `US-CA`, as ISO 3166-2 writes it.
    let of = |code: &str, own: &str| plain == own || plain.strip_prefix(code) == Some(own);
    let here = tables
        .iter()
        .filter(|(code, _)| country.is_none_or(|country| country == *code));
    for (code, states) in here {
        let found = states
            .iter()
            .find(|(own, name)| of(code, own) || plain == *name);
        if let Some((own, _)) = found {
            return State::Code(own);
        }
    }
    State::Unknown
}

/// Letters and digits in lower case, without accents where Latin letters have them.
fn plain(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase);
    let plain = lower.map(|c| match c {
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' | 'ø' => 'o',
        'ù'..='ü' => 'u',
        other => other,
    });
    let spelled = plain.map(|c| {
        if c == '&' {
            "and".to_owned()
        } else {
            c.to_string()
        }
    });
    spelled
        .collect::<String>()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_as_shops_write_them() {
        for (text, code) in [
            ("United States", "us"),
            ("United States of America", "us"),
            ("the United States", "us"),
            ("USA", "us"),
            ("U.S.A.", "us"),
            ("us", "us"),
            ("UK", "gb"),
            ("United Kingdom", "gb"),
            ("Great Britain", "gb"),
            ("Scotland", "gb"),
            ("Canada", "ca"),
            ("CAN", "ca"),
            ("Australia", "au"),
            ("Germany", "de"),
            ("DEU", "de"),
            ("The Netherlands", "nl"),
            ("Holland", "nl"),
            ("Czech Republic", "cz"),
            ("South Korea", "kr"),
            ("Russia", "ru"),
            ("Russian Federation", "ru"),
            ("Côte d'Ivoire", "ci"),
            ("Ivory Coast", "ci"),
            ("Vietnam", "vn"),
            ("Viet Nam", "vn"),
            ("Türkiye", "tr"),
            ("Turkey", "tr"),
            ("Hong Kong", "hk"),
            ("Trinidad & Tobago", "tt"),
            ("United States (US)", "us"),
            ("Korea, Republic of", "kr"),
            ("Gambia, The", "gm"),
            ("Samoa", "ws"),
            ("American Samoa", "as"),
            ("Georgia", "ge"),
            ("Dominica", "dm"),
            ("Dominican Republic", "do"),
            ("Niger", "ne"),
            ("Nigeria", "ng"),
            ("South Sudan", "ss"),
            ("United Arab Emirates", "ae"),
            ("New Zealand", "nz"),
            ("Puerto Rico", "pr"),
            ("Bosnia and Herzegovina", "ba"),
            ("North Macedonia", "mk"),
            ("Cape Verde", "cv"),
            ("Réunion", "re"),
        ] {
            assert_eq!(country_code(text).as_deref(), Some(code), "{text}");
        }
        for text in [
            "",
            "840",
            "XX",
            "EU",
            "Atlantis",
            "Deutschland",
            "日本",
            "---",
        ] {
            assert_eq!(country_code(text), None, "{text}");
        }
    }

    #[test]
    fn states_by_the_country_that_is_said() {
        for (text, country, state) in [
            ("California", Some("us"), State::Code("ca")),
            ("CA", Some("us"), State::Code("ca")),
            ("us-ca", None, State::Code("ca")),
            ("New  York", None, State::Code("ny")),
            ("Québec", Some("ca"), State::Code("qc")),
            ("Ontario", None, State::Code("on")),
            ("New South Wales", Some("au"), State::Code("nsw")),
            ("WA", Some("au"), State::Code("wa")),
            ("Western Australia", Some("us"), State::Unknown),
            ("Washington", Some("us"), State::Code("wa")),
            ("Washington D.C.", Some("us"), State::Code("dc")),
            ("Georgia", Some("us"), State::Code("ga")),
            ("Bayern", Some("de"), State::Elsewhere),
            ("CA", Some("de"), State::Elsewhere),
            ("Bayern", None, State::Unknown),
            ("", None, State::Unknown),
        ] {
            assert_eq!(state_code(text, country), state, "{text} {country:?}");
        }
    }
}
