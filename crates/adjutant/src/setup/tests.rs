#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::Sources;
use crate::daemon::SOCKET_FILE;
use crate::doors::{OsEntropy, SystemClock};

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path().join("config.toml")).unwrap_or_default()
    }

    async fn run(&self, env: &[(&str, &str)], answers: SetupAnswers) -> Result<SetupDone, Failure> {
        let env: Env = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let home = self.path();
        let settings = Settings::open(Sources::usual(&home, env.clone()), &home).unwrap();
        let place = Place {
            socket: home.join(SOCKET_FILE),
            log: home.join("logs/gateway.log"),
            home,
            config: None,
            credential: adjutant_client::Credential::None,
            tls: adjutant_tls::Config::default(),
            drain: std::time::Duration::from_secs(10),
            service: None,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let bench = Bench {
            place: &place,
            settings: &settings,
            env: &env,
            clock,
            entropy: &OsEntropy,
        };
        setup(&bench, answers).await
    }
}

fn provider(name: &str) -> SetupAnswers {
    SetupAnswers {
        route: RouteChoice {
            provider: Some(name.to_owned()),
            ..RouteChoice::default()
        },
        ..SetupAnswers::default()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

// covers: S48
#[tokio::test]
async fn everything_it_makes_belongs_to_the_owner_alone() {
    let home = Home::new();
    let done = home.run(&[], provider("offline")).await.unwrap();
    assert_eq!(
        (
            done.provider.as_str(),
            done.agent.as_str(),
            done.trust_level
        ),
        ("offline", "main", 4)
    );
    assert_eq!(mode(&home.path()), 0o700);
    assert_eq!(mode(&home.path().join(TOKEN_FILE)), 0o600);
    assert_eq!(mode(&home.path().join("config.toml")), 0o600);
    assert_eq!(mode(&done.workspace), 0o700);
}

// covers: S45
#[tokio::test]
async fn a_key_is_named_and_never_copied() {
    let home = Home::new();
    let env = [("OPENAI_API_KEY", "sk-planted-4711")];
    let mut answers = provider("openai");
    answers.route.base_url = Some("http://127.0.0.1:9/v1".to_owned());
    answers.route.model = Some("gpt-5-mini".to_owned());
    let done = home.run(&env, answers).await.unwrap();
    assert_eq!(done.model.as_deref(), Some("gpt-5-mini"));
    let text = home.text();
    assert!(
        text.contains("env:OPENAI_API_KEY") && text.contains("http://127.0.0.1:9/v1"),
        "{text}"
    );
    assert!(!text.contains("sk-planted-4711") && !format!("{done:?}").contains("sk-planted-4711"));
}

#[tokio::test]
async fn a_missing_key_is_a_usage_error_that_names_the_variable_and_leaves_nothing_behind() {
    let home = Home::new();
    let failure = home.run(&[], provider("anthropic")).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.message.contains("ANTHROPIC_API_KEY"), "{failure}");
    assert!(!home.path().exists());
}

#[tokio::test]
async fn a_second_run_changes_only_what_was_asked() {
    let home = Home::new();
    home.run(&[], provider("offline")).await.unwrap();
    let (text, token) = (
        home.text(),
        std::fs::read(home.path().join(TOKEN_FILE)).unwrap(),
    );
    let again = home.run(&[], SetupAnswers::default()).await.unwrap();
    assert_eq!((home.text(), again.provider.as_str()), (text, "offline"));
    assert_eq!(std::fs::read(home.path().join(TOKEN_FILE)).unwrap(), token);
    let trusted = SetupAnswers {
        trust_level: Some(2),
        ..SetupAnswers::default()
    };
    assert_eq!(home.run(&[], trusted).await.unwrap().trust_level, 2);
    let kept = home.run(&[], provider("offline")).await.unwrap();
    assert_eq!(kept.trust_level, 2);
    let folder = home.dir.path().join("work");
    let moved = SetupAnswers {
        agent_workspace: Some(folder.clone()),
        ..SetupAnswers::default()
    };
    assert_eq!(home.run(&[], moved).await.unwrap().workspace, folder);
}

// covers: S2
#[tokio::test]
async fn a_weak_token_in_the_environment_is_refused() {
    let home = Home::new();
    let failure = home
        .run(
            &[("ADJUTANT_GATEWAY_TOKEN", "changeme")],
            provider("offline"),
        )
        .await
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
}

#[test]
fn a_workspace_may_not_hold_the_installation() {
    let home = Path::new("/home/ada/.adjutant");
    for bad in [
        "/",
        "/home/ada",
        "/home/ada/.adjutant",
        "/home/ada/.adjutant/logs",
        "/tmp/../etc",
    ] {
        assert_eq!(
            check_workspace(Path::new(bad), home).map_err(|it| it.exit),
            Err(Exit::Usage),
            "{bad}"
        );
    }
    for good in [
        "/home/ada/.adjutant/workspace",
        "/home/ada/work",
        "/srv/ada",
    ] {
        assert_eq!(check_workspace(Path::new(good), home), Ok(()), "{good}");
    }
}

#[tokio::test]
async fn discovery_says_what_it_saw() {
    let env: Env = [("GOOGLE_API_KEY".to_owned(), "g-key-123456".to_owned())].into();
    let mut config = Providers::default();
    config.ollama.base_url = Some("http://127.0.0.1:9".to_owned());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let found = discover_providers(&config, &env, clock).await.unwrap();
    let ready: Vec<&str> = found
        .iter()
        .filter(|it| it.ready)
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(ready, ["gemini", "offline"]);
    let openai = found.iter().find(|it| it.name == "openai").unwrap();
    assert_eq!(openai.evidence, "OPENAI_API_KEY is not set");
    let text = format!("{found:?}");
    assert!(!text.contains("g-key-123456"), "{text}");
}
