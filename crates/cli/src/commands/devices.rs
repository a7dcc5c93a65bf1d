//! `adjutant devices` and `adjutant pairing`.

use adjutant_domain::access::{Role, Scope, Scopes};
use adjutant_domain::id::PairingId;
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::devices::{
    DeviceList, DevicePairApprove, DevicePairList, DevicePairReject, DevicePairRemove,
    DeviceParams, DeviceRename, DeviceRenameParams, DeviceSetupCode, DeviceTokenRevoke,
    DeviceTokenRotate, PairedDevice, PairingApproveParams, PairingParams, PendingPairing,
    SetupCodeMade, SetupCodeParams, TokenParams, TokenRotateParams,
};

use crate::args::{DevicesCommand, PairingCommand, Removal, RoleArg};
use crate::confirm::{self, Go};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::word_of;
use crate::render::{Table, ago, facts, in_time, safe};
use crate::terminal::Form;

/// Digits of a device's id that are enough to name it.
const SHORT_ID_MIN: usize = 6;

pub(super) async fn devices(cx: &Cx<'_>, command: DevicesCommand) -> Result<Exit, Failure> {
    let gateway = Connection::for_data(cx).await?;
    match command {
        DevicesCommand::List => {
            let list = gateway.call::<DevicePairList>(NoParams {}).await?;
            cx.terminal.show(&list, || {
                let mut page = devices_table(cx, &list);
                if !list.pending.is_empty() {
                    page = format!("{page}\n\n{}", requests_table(cx, &list));
                }
                page
            })?;
        }
        DevicesCommand::Show { device } => {
            let device = named(&gateway, &device.device).await?;
            cx.terminal.show(&device, || describe(cx, &device))?;
        }
        DevicesCommand::Approve { request } => return approve(cx, &gateway, &request).await,
        DevicesCommand::Reject { request } => return reject(cx, &gateway, request).await,
        DevicesCommand::Remove { device, removal } => {
            let device = named(&gateway, &device.device).await?;
            let what = [format!(
                "the device `{}` ({})",
                name_of(&device),
                device.device_id.short()
            )];
            if confirm::removal(cx, removal, device.device_id.short(), &what).await?
                == Go::NoFurther
            {
                return Ok(Exit::Done);
            }
            let params = DeviceParams {
                device_id: device.device_id.to_string(),
                idempotency_key: Some(fresh_key()?),
            };
            let removed = gateway.call::<DevicePairRemove>(params).await?;
            cx.terminal.show(&removed, || {
                format!("removed {}", removed.device_id.short())
            })?;
        }
        DevicesCommand::Rotate { device, role } => {
            let device = named(&gateway, &device.device).await?;
            let params = TokenRotateParams {
                device_id: device.device_id.to_string(),
                role: role_of(role),
                scopes: None,
                idempotency_key: Some(fresh_key()?),
            };
            let rotated = gateway.call::<DeviceTokenRotate>(params).await?;
            cx.terminal.show(&rotated, || {
                let token = rotated.token.as_deref().unwrap_or_default();
                format!(
                    "The new token of {} for the role {}; it is not shown again:\n{token}",
                    rotated.device_id.short(),
                    rotated.role
                )
            })?;
        }
        DevicesCommand::Revoke {
            device,
            role,
            removal,
        } => {
            let device = named(&gateway, &device.device).await?;
            return revoke(cx, &gateway, &device, role_of(role), removal).await;
        }
        DevicesCommand::Rename { device, name } => {
            let device = named(&gateway, &device.device).await?;
            let params = DeviceRenameParams {
                device_id: device.device_id.to_string(),
                display_name: name,
                idempotency_key: Some(fresh_key()?),
            };
            let renamed = gateway.call::<DeviceRename>(params).await?;
            cx.terminal.show(&renamed, || {
                format!(
                    "{} is called {} now",
                    renamed.device_id.short(),
                    safe(&renamed.display_name)
                )
            })?;
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn pairing(cx: &Cx<'_>, command: PairingCommand) -> Result<Exit, Failure> {
    let gateway = Connection::for_data(cx).await?;
    match command {
        PairingCommand::List => {
            let list = gateway.call::<DevicePairList>(NoParams {}).await?;
            cx.terminal
                .show(&list.pending, || requests_table(cx, &list))?;
        }
        PairingCommand::Approve { request } => return approve(cx, &gateway, &request).await,
        PairingCommand::Reject { request } => return reject(cx, &gateway, request).await,
        PairingCommand::Code {
            roles,
            scopes,
            url,
            life,
        } => {
            let scopes = scopes
                .iter()
                .map(|word| scope_of(word))
                .collect::<Result<Vec<Scope>, Failure>>()?;
            let params = SetupCodeParams {
                roles: (!roles.is_empty()).then(|| roles.into_iter().map(role_of).collect()),
                scopes: (!scopes.is_empty()).then_some(scopes),
                url,
                ttl_ms: life
                    .map(|life| u64::try_from(life.duration().as_millis()).unwrap_or(u64::MAX)),
                idempotency_key: None,
            };
            let made = gateway.call::<DeviceSetupCode>(params).await?;
            cx.terminal.show(&made, || code_page(cx, &made))?;
        }
    }
    Ok(Exit::Done)
}

/// Shows what a device asks and lets it in when the person says so.
async fn approve(cx: &Cx<'_>, gateway: &Connection, request: &str) -> Result<Exit, Failure> {
    let list = gateway.call::<DevicePairList>(NoParams {}).await?;
    let by_id = request.parse::<PairingId>().is_ok();
    let wanted = |it: &&PendingPairing| {
        if by_id {
            it.request_id.to_string() == request
        } else {
            plain(&it.code) == plain(request)
        }
    };
    if let Some(pending) = list.pending.iter().find(wanted)
        && !cx.global.yes
    {
        if !cx.terminal.can_ask() {
            return Err(Failure::usage(format!(
                "this would let the device {} in as {}; nobody can be asked here",
                pending.fingerprint,
                asks(pending)
            ))
            .with_hint("look at `adjutant pairing list`, then add `--yes`"));
        }
        cx.terminal.say(&question(cx, pending));
        let answer = cx.ask("Let it in? [y/N]", "n").await?;
        if !matches!(answer.as_str(), "y" | "Y" | "yes") {
            return Err(Failure::usage("not let in"));
        }
    }
    // What is not in the list is for the gateway to refuse: it counts wrong codes.
    let params = PairingApproveParams {
        request_id: by_id.then(|| request.to_owned()),
        code: (!by_id).then(|| request.to_owned()),
        idempotency_key: Some(fresh_key()?),
    };
    let approved = gateway.call::<DevicePairApprove>(params).await?;
    cx.terminal.show(&approved, || {
        let device = &approved.device;
        format!("let in {} ({})", name_of(device), device.device_id.short())
    })?;
    Ok(Exit::Done)
}

async fn reject(cx: &Cx<'_>, gateway: &Connection, request_id: String) -> Result<Exit, Failure> {
    let params = PairingParams {
        request_id,
        idempotency_key: Some(fresh_key()?),
    };
    let rejected = gateway.call::<DevicePairReject>(params).await?;
    cx.terminal.show(&rejected, || {
        format!("refused {}", rejected.device_id.short())
    })?;
    Ok(Exit::Done)
}

async fn revoke(
    cx: &Cx<'_>,
    gateway: &Connection,
    device: &PairedDevice,
    role: Role,
    removal: Removal,
) -> Result<Exit, Failure> {
    let short = device.device_id.short();
    let what = [format!(
        "the role {role} of the device `{}` ({short})",
        name_of(device)
    )];
    if confirm::removal(cx, removal, short, &what).await? == Go::NoFurther {
        return Ok(Exit::Done);
    }
    let params = TokenParams {
        device_id: device.device_id.to_string(),
        role,
        idempotency_key: Some(fresh_key()?),
    };
    let revoked = gateway.call::<DeviceTokenRevoke>(params).await?;
    cx.terminal.show(&revoked, || {
        format!("{short} is no {} any more", revoked.role)
    })?;
    Ok(Exit::Done)
}

/// The device whose id begins like this.
async fn named(gateway: &Connection, text: &str) -> Result<PairedDevice, Failure> {
    let start = text.to_ascii_lowercase();
    if start.len() < SHORT_ID_MIN || !start.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "`{}` is not the id of a device, nor six or more of its first digits",
            safe(text)
        )));
    }
    let list = gateway.call::<DevicePairList>(NoParams {}).await?;
    let mut found = list
        .paired
        .into_iter()
        .filter(|device| device.device_id.as_str().starts_with(&start));
    match (found.next(), found.next()) {
        (Some(device), None) => Ok(device),
        (Some(_), Some(_)) => Err(Failure::usage(format!("`{start}` fits several devices"))),
        (None, _) => {
            Err(Failure::not_found("device", &start).with_hint("see `adjutant devices list`"))
        }
    }
}

fn role_of(role: RoleArg) -> Role {
    match role {
        RoleArg::Operator => Role::Operator,
        RoleArg::Node => Role::Node,
    }
}

fn scope_of(word: &str) -> Result<Scope, Failure> {
    let full = if word.starts_with("operator.") {
        word.to_owned()
    } else {
        format!("operator.{word}")
    };
    full.parse().map_err(|_e| {
        let known: Vec<&str> = Scope::ALL.into_iter().map(Scope::word).collect();
        Failure::usage(format!("`{}` is not a scope", safe(word)))
            .with_hint(format!("one of {}", known.join(", ")))
    })
}

fn plain(code: &str) -> String {
    code.chars()
        .filter(|c| !matches!(c, '-' | ' '))
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        })
        .collect()
}

fn name_of(device: &PairedDevice) -> String {
    let name = device
        .display_name
        .as_deref()
        .or(device.client_id.as_deref());
    safe(name.unwrap_or("device"))
}

fn scopes_text(scopes: Scopes) -> String {
    let words: Vec<&str> = scopes
        .words()
        .into_iter()
        .map(|word| word.trim_start_matches("operator."))
        .collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

fn asks(pending: &PendingPairing) -> String {
    match pending.role {
        Some(Role::Node) if pending.commands.is_empty() => "node".to_owned(),
        Some(Role::Node) => format!("node with {}", pending.commands.join(", ")),
        _ => format!("operator with {}", scopes_text(pending.scopes)),
    }
}

fn devices_table(cx: &Cx<'_>, list: &DeviceList) -> String {
    let mut table = Table::new(&["DEVICE", "NAME", "ROLES", "SCOPES", "LET IN", "SEEN"]);
    for it in &list.paired {
        let roles: Vec<String> = it
            .roles
            .iter()
            .map(|role| {
                let revoked = |t: &&adjutant_protocol::methods::devices::TokenShown| {
                    t.role == *role && t.revoked_at_ms.is_some()
                };
                match it.tokens.iter().find(revoked) {
                    Some(_) => format!("{role} (revoked)"),
                    None => role.to_string(),
                }
            })
            .collect();
        let seen = match (it.connected, it.last_seen_at_ms) {
            (true, _) => "now".to_owned(),
            (false, Some(at)) => ago(at, cx.now()),
            (false, None) => "never".to_owned(),
        };
        table.row([
            it.device_id.short().to_owned(),
            name_of(it),
            roles.join(", "),
            scopes_text(it.scopes),
            format!(
                "{} ({})",
                ago(it.approved_at_ms, cx.now()),
                word_of(&it.approved_via)
            ),
            seen,
        ]);
    }
    table.render(cx.terminal.paint(), cx.terminal.table_width())
}

fn requests_table(cx: &Cx<'_>, list: &DeviceList) -> String {
    let mut table = Table::new(&[
        "REQUEST",
        "CODE",
        "FINGERPRINT",
        "FROM",
        "LAPSES",
        "ASKS TO BE",
    ]);
    for it in &list.pending {
        table.row([
            it.request_id.to_string(),
            it.code.clone(),
            it.fingerprint.clone(),
            it.remote_ip
                .clone()
                .unwrap_or_else(|| "this machine".to_owned()),
            in_time(it.expires_at_ms, cx.now()),
            asks(it),
        ]);
    }
    table.render(cx.terminal.paint(), cx.terminal.table_width())
}

fn question(cx: &Cx<'_>, it: &PendingPairing) -> String {
    let name = it.display_name.clone().or_else(|| it.client_id.clone());
    let rows = [
        ("name", safe(&name.unwrap_or_default())),
        ("code", it.code.clone()),
        ("fingerprint", it.fingerprint.clone()),
        ("platform", safe(it.platform.as_deref().unwrap_or("-"))),
        (
            "from",
            it.remote_ip
                .clone()
                .unwrap_or_else(|| "this machine".to_owned()),
        ),
        ("asks to be", safe(&asks(it))),
    ];
    facts(cx.terminal.paint(), &rows)
}

fn describe(cx: &Cx<'_>, it: &PairedDevice) -> String {
    let roles: Vec<String> = it.roles.iter().map(ToString::to_string).collect();
    let rows = [
        ("device", it.device_id.to_string()),
        ("fingerprint", it.fingerprint.clone()),
        ("name", name_of(it)),
        ("platform", safe(it.platform.as_deref().unwrap_or("-"))),
        ("roles", roles.join(", ")),
        ("scopes", scopes_text(it.scopes)),
        (
            "let in",
            format!(
                "{} by {} ({})",
                ago(it.approved_at_ms, cx.now()),
                it.approved_by,
                word_of(&it.approved_via)
            ),
        ),
        (
            "connected",
            if it.connected { "yes" } else { "no" }.to_owned(),
        ),
        (
            "from",
            it.remote_ip
                .clone()
                .unwrap_or_else(|| "this machine".to_owned()),
        ),
    ];
    facts(cx.terminal.paint(), &rows)
}

fn code_page(cx: &Cx<'_>, made: &SetupCodeMade) -> String {
    let code = made.setup_code.as_deref().unwrap_or_default();
    let mut page = String::new();
    // A picture is for eyes only: a script gets the text.
    if cx.terminal.form == Form::Human && cx.terminal.is_interactive() {
        page = picture(code).unwrap_or_default();
    }
    let until = in_time(made.expires_at_ms, cx.now());
    format!(
        "{page}{code}\n\nLets one device in at {}, once, as {}; lapses {until}. Whoever sees it can use it.",
        made.url,
        made.roles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" and ")
    )
}

/// The code as a picture made of half blocks, dark on light whatever the terminal's colours are.
fn picture(code: &str) -> Option<String> {
    use qrcode::render::unicode::Dense1x2;
    let picture = qrcode::QrCode::with_error_correction_level(code, qrcode::EcLevel::L).ok()?;
    let text = picture
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Some(format!("{text}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_becomes_a_picture_of_equal_lines() {
        let code = "eyJ1cmwiOiJ3c3M6Ly9ib3guZXhhbXBsZTo4NDQzIiwiYm9vdHN0cmFwVG9rZW4iOiJ4eHh4eHh4eHh4eHh4eHh4In0";
        let text = picture(code).unwrap_or_default();
        let widths: Vec<usize> = text.trim_end().lines().map(|l| l.chars().count()).collect();
        assert!(widths.len() > 20 && widths.iter().all(|w| *w == widths[0]));
    }
}
