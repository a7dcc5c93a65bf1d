//! The components of both versions: what each must and may say. A table, from the catalogues of `@a2ui/web_core` 0.11.

use super::Version;

/// What stands at a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Number,
    Choice(&'static [&'static str]),
    /// A literal, a path, and in v0.9 a call.
    DynText,
    DynFlag,
    DynNumber,
    DynList,
    /// Where something is to be loaded from: a dynamic text.
    Url,
    /// Another component.
    Id,
    /// Other components, listed or by template.
    Children,
    /// Titles, each with a component.
    Tabs,
    /// What may be chosen.
    Options,
    Action,
    Checks,
    Accessibility,
    /// A name or a drawing of its own.
    Icon,
}

/// Whether a member may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Must,
    May,
}

use Kind::{
    Accessibility, Action, Checks, Children, Choice, DynFlag, DynList, DynNumber, DynText, Flag,
    Icon, Id, Number, Options, Tabs, Text, Url,
};
use Need::{May, Must};

pub(super) type Member = (&'static str, Kind, Need);
type Component = (&'static str, &'static [Member]);

const FIT_8: Kind = Choice(&["contain", "cover", "fill", "none", "scale-down"]);
const FIT_9: Kind = Choice(&["contain", "cover", "fill", "none", "scaleDown"]);
const PICTURE: Kind = Choice(&[
    "icon",
    "avatar",
    "smallFeature",
    "mediumFeature",
    "largeFeature",
    "header",
]);
const WORDS: Kind = Choice(&["h1", "h2", "h3", "h4", "h5", "caption", "body"]);
const DIRECTION: Kind = Choice(&["vertical", "horizontal"]);
const SPREAD_8: Kind = Choice(&[
    "start",
    "center",
    "end",
    "spaceBetween",
    "spaceAround",
    "spaceEvenly",
]);
const SPREAD_9: Kind = Choice(&[
    "start",
    "center",
    "end",
    "spaceBetween",
    "spaceAround",
    "spaceEvenly",
    "stretch",
]);
const ALIGN: Kind = Choice(&["start", "center", "end", "stretch"]);

const V08: &[Component] = &[
    (
        "Text",
        &[("text", DynText, Must), ("usageHint", WORDS, May)],
    ),
    (
        "Image",
        &[
            ("url", Url, Must),
            ("altText", DynText, May),
            ("fit", FIT_8, May),
            ("usageHint", PICTURE, May),
        ],
    ),
    ("Icon", &[("name", DynText, Must)]),
    ("Video", &[("url", Url, Must)]),
    (
        "AudioPlayer",
        &[("url", Url, Must), ("description", DynText, May)],
    ),
    (
        "Row",
        &[
            ("children", Children, Must),
            ("distribution", SPREAD_8, May),
            ("alignment", ALIGN, May),
        ],
    ),
    (
        "Column",
        &[
            ("children", Children, Must),
            ("distribution", SPREAD_8, May),
            ("alignment", ALIGN, May),
        ],
    ),
    (
        "List",
        &[
            ("children", Children, Must),
            ("direction", DIRECTION, May),
            ("alignment", ALIGN, May),
        ],
    ),
    ("Card", &[("child", Id, Must)]),
    ("Tabs", &[("tabItems", Tabs, Must)]),
    ("Divider", &[("axis", DIRECTION, May)]),
    (
        "Modal",
        &[("entryPointChild", Id, Must), ("contentChild", Id, Must)],
    ),
    (
        "Button",
        &[
            ("child", Id, Must),
            ("primary", Flag, May),
            ("action", Action, Must),
        ],
    ),
    (
        "CheckBox",
        &[("label", DynText, Must), ("value", DynFlag, Must)],
    ),
    (
        "TextField",
        &[
            ("label", DynText, Must),
            ("text", DynText, May),
            (
                "textFieldType",
                Choice(&["date", "longText", "number", "shortText", "obscured"]),
                May,
            ),
            ("validationRegexp", Text, May),
        ],
    ),
    (
        "DateTimeInput",
        &[
            ("value", DynText, Must),
            ("enableDate", Flag, May),
            ("enableTime", Flag, May),
        ],
    ),
    (
        "MultipleChoice",
        &[
            ("selections", DynList, Must),
            ("options", Options, Must),
            ("maxAllowedSelections", Number, May),
        ],
    ),
    (
        "Slider",
        &[
            ("label", DynText, May),
            ("value", DynNumber, Must),
            ("minValue", Number, May),
            ("maxValue", Number, May),
        ],
    ),
];

/// What every component of v0.9 may say besides.
const COMMON_9: &[Member] = &[
    ("accessibility", Accessibility, May),
    ("weight", Number, May),
];

const V09: &[Component] = &[
    ("Text", &[("text", DynText, Must), ("variant", WORDS, May)]),
    (
        "Image",
        &[
            ("url", Url, Must),
            ("description", DynText, May),
            ("fit", FIT_9, May),
            ("variant", PICTURE, May),
        ],
    ),
    ("Icon", &[("name", Icon, Must)]),
    ("Video", &[("url", Url, Must)]),
    (
        "AudioPlayer",
        &[("url", Url, Must), ("description", DynText, May)],
    ),
    (
        "Row",
        &[
            ("children", Children, Must),
            ("justify", SPREAD_9, May),
            ("align", ALIGN, May),
        ],
    ),
    (
        "Column",
        &[
            ("children", Children, Must),
            ("justify", SPREAD_9, May),
            ("align", ALIGN, May),
        ],
    ),
    (
        "List",
        &[
            ("children", Children, Must),
            ("direction", DIRECTION, May),
            ("align", ALIGN, May),
        ],
    ),
    ("Card", &[("child", Id, Must)]),
    ("Tabs", &[("tabs", Tabs, Must)]),
    ("Modal", &[("trigger", Id, Must), ("content", Id, Must)]),
    ("Divider", &[("axis", DIRECTION, May)]),
    (
        "Button",
        &[
            ("child", Id, Must),
            (
                "variant",
                Choice(&["default", "primary", "borderless"]),
                May,
            ),
            ("action", Action, Must),
            ("checks", Checks, May),
        ],
    ),
    (
        "TextField",
        &[
            ("label", DynText, Must),
            ("value", DynText, May),
            (
                "variant",
                Choice(&["longText", "number", "shortText", "obscured"]),
                May,
            ),
            ("validationRegexp", Text, May),
            ("checks", Checks, May),
        ],
    ),
    (
        "CheckBox",
        &[
            ("label", DynText, Must),
            ("value", DynFlag, Must),
            ("checks", Checks, May),
        ],
    ),
    (
        "ChoicePicker",
        &[
            ("label", DynText, May),
            (
                "variant",
                Choice(&["multipleSelection", "mutuallyExclusive"]),
                May,
            ),
            ("options", Options, Must),
            ("value", DynList, Must),
            ("displayStyle", Choice(&["checkbox", "chips"]), May),
            ("filterable", Flag, May),
            ("checks", Checks, May),
        ],
    ),
    (
        "Slider",
        &[
            ("label", DynText, May),
            ("min", Number, May),
            ("max", Number, Must),
            ("value", DynNumber, Must),
            ("checks", Checks, May),
        ],
    ),
    (
        "DateTimeInput",
        &[
            ("value", DynText, Must),
            ("enableDate", Flag, May),
            ("enableTime", Flag, May),
            ("min", DynText, May),
            ("max", DynText, May),
            ("label", DynText, May),
            ("checks", Checks, May),
        ],
    ),
];

/// Functions of v0.9.
pub(super) const FUNCTIONS: &[&str] = &[
    "required",
    "regex",
    "length",
    "numeric",
    "email",
    "formatString",
    "formatNumber",
    "formatCurrency",
    "formatDate",
    "pluralize",
    "openUrl",
    "and",
    "or",
    "not",
    "capitalize",
];

/// Catalogues the renderer draws.
pub(super) const CATALOGS_8: &[&str] = &[
    "https://a2ui.org/specification/v0_8/standard_catalog_definition.json",
    "a2ui.org:standard_catalog_0_8_0",
];
/// Catalogues the renderer draws.
pub(super) const CATALOGS_9: &[&str] = &[
    "https://a2ui.org/specification/v0_9/catalogs/basic/catalog.json",
    "https://a2ui.org/specification/v0_9/catalogs/minimal/catalog.json",
];

/// The members of a component, in two lists. None: there is no such component.
pub(super) fn members(version: Version, name: &str) -> Option<[&'static [Member]; 2]> {
    let (table, common): (_, &[Member]) = match version {
        Version::V08 => (V08, &[]),
        Version::V09 | Version::V091 => (V09, COMMON_9),
    };
    let (_, members) = table.iter().find(|(known, _)| *known == name)?;
    Some([members, common])
}
