//! The built-in providers: where they usually are, which key they take, what they speak.

use crate::endpoint::Style;
use crate::wire::{Anthropic, Dialect, Gemini, OpenAi, Responses, Wire};

/// A built-in provider that is reached over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Anthropic,
    OpenAi,
    Responses,
    Gemini,
    Groq,
    OpenRouter,
    Ollama,
}

/// In the order in which a default is looked for.
pub(crate) const BUILT_IN: [Kind; 7] = [
    Kind::Anthropic,
    Kind::OpenAi,
    Kind::Responses,
    Kind::Gemini,
    Kind::Groq,
    Kind::OpenRouter,
    Kind::Ollama,
];

impl Kind {
    /// Name in routes and in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Responses => "openai-responses",
            Self::Gemini => "gemini",
            Self::Groq => "groq",
            Self::OpenRouter => "openrouter",
            Self::Ollama => "ollama",
        }
    }

    /// Where it usually is.
    pub(crate) fn home(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenAi | Self::Responses => "https://api.openai.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com",
            Self::Groq => "https://api.groq.com/openai/v1",
            Self::OpenRouter => "https://openrouter.ai/api/v1",
            Self::Ollama => "http://127.0.0.1:11434",
        }
    }

    /// Environment variables that usually hold its key, the first one set counts; none when it needs no key.
    pub(crate) fn key_variables(self) -> &'static [&'static str] {
        match self {
            Self::Anthropic => &["ANTHROPIC_API_KEY"],
            Self::OpenAi | Self::Responses => &["OPENAI_API_KEY"],
            Self::Gemini => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
            Self::Groq => &["GROQ_API_KEY"],
            Self::OpenRouter => &["OPENROUTER_API_KEY"],
            Self::Ollama => &[],
        }
    }

    /// Model when only the provider is named: good at tools, not the dearest.
    pub(crate) fn default_model(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-sonnet-4-5",
            Self::OpenAi | Self::Responses => "gpt-5-mini",
            Self::Gemini => "gemini-2.5-flash",
            Self::Groq => "openai/gpt-oss-120b",
            Self::OpenRouter => "anthropic/claude-sonnet-4.5",
            Self::Ollama => "llama3.2",
        }
    }

    /// How its address is written.
    pub(crate) fn style(self) -> Style {
        match self {
            Self::Anthropic => Style::Anthropic,
            Self::Gemini => Style::Gemini,
            Self::OpenAi | Self::Responses | Self::Groq | Self::OpenRouter => Style::OpenAi,
            Self::Ollama => Style::Ollama,
        }
    }

    /// What it speaks.
    pub(crate) fn wire(self) -> Box<dyn Wire> {
        match self {
            Self::Anthropic => Box::new(Anthropic::new()),
            Self::Responses => Box::new(Responses::new()),
            Self::Gemini => Box::new(Gemini::new()),
            Self::OpenAi | Self::Groq => Box::new(OpenAi::new(Dialect::Native)),
            Self::OpenRouter => Box::new(OpenAi::new(Dialect::OpenRouter)),
            Self::Ollama => Box::new(OpenAi::new(Dialect::Compatible)),
        }
    }
}
