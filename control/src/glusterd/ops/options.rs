//! `volume set`, `reset` and `get`, for one volume and for the whole cluster (`all`).

use datapath::wire::OldDict;

use super::super::daemon::Daemon;
use super::super::hooks;
use super::super::model::{MAX_OP_VERSION, NEW_VOLUME_OPTIONS, OpError, Volume};
use super::lifecycle::require_server_quorum;
use super::{OpResult, named_volume, text, with_volume_id};
use crate::volfile::options::{
    DefaultValue, OptionSpec, ValidationContext, did_you_mean, find, find_short, table as option_table,
};

/// More pairs than this in one request are not believed.
const MAX_PAIRS: i32 = 1024;
/// The option whose change after the first start must not happen behind the bricks' back.
const GRANULAR: &str = "cluster.granular-entry-heal";
/// The option that says whether a volume's bricks and changes follow the server quorum.
const SERVER_QUORUM: &str = "cluster.server-quorum-type";
/// Options of a new volume that `reset` puts back to what a new volume has, instead of removing them.
const KEPT: [&str; 4] = [
    GRANULAR,
    "storage.fips-mode-rchecksum",
    "transport.address-family",
    "nfs.disable",
];

/// The option a user means, by its full name or by what stands after the first dot.
fn resolve(name: &str) -> Option<&'static OptionSpec> {
    find(name).or_else(|| if name.contains('.') { None } else { find_short(name) })
}

fn unknown(name: &str) -> OpError {
    let hint = did_you_mean(name).map_or_else(String::new, |near| format!("\nDid you mean {near}?"));
    OpError::new(format!("option : {name} does not exist{hint}"))
}

/// The pairs of a set request, with full names.
fn pairs(request: &OldDict) -> Result<Vec<(String, String)>, OpError> {
    let count = request.get_i32("count").unwrap_or(0) / 2;
    if !(1..=MAX_PAIRS).contains(&count) {
        return Err(OpError::new(format!(
            "the request has no valid 'count' ({count} pairs)"
        )));
    }
    let pair = |i: i32| {
        let (key, value) = (text(request, &format!("key{i}"))?, text(request, &format!("value{i}"))?);
        Ok((key.to_string(), value.to_string()))
    };
    (1..=count).map(pair).collect()
}

/// A volume that follows the server quorum is not changed by a node that has lost it, except for letting it follow no more.
/// As with GlusterFS the first option of a command decides.
fn require_quorum_for(daemon: &Daemon, volume: &Volume, key: Option<&str>) -> Result<(), OpError> {
    match key.and_then(resolve).is_some_and(|spec| spec.key == SERVER_QUORUM) {
        true => Ok(()),
        false => require_server_quorum(daemon, volume),
    }
}

/// Sets options, all of them or none.
pub(super) async fn set(daemon: &Daemon, request: OldDict) -> OpResult {
    if request.get_str("key1") == Some("help") {
        return Ok(help(request));
    }
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let pairs = pairs(&request)?;
    if text(&request, "volname")? == "all" {
        return set_cluster(daemon, &pairs, request).await;
    }
    let mut volume = named_volume(daemon, &request)?;
    require_quorum_for(daemon, &volume, pairs.first().map(|(key, _)| key.as_str()))?;
    let before = volume.clone();
    let mut said = vec!["-o".to_string()];
    for (key, value) in &pairs {
        let key = check_pair(&before, key, value)?;
        said.push(format!("{key}={value}"));
        volume.set_option(&key, value);
    }
    let words: Vec<&str> = said.iter().map(String::as_str).collect();
    hooks::run_before(daemon, "set", &volume.name, &words).await;
    apply(daemon, &volume).await?;
    hooks::run_after(daemon, "set", &volume.name, &words);
    Ok(with_volume_id(request, &volume))
}

/// Checks one pair against the volume and answers the full name of its option.
fn check_pair(volume: &Volume, key: &str, value: &str) -> Result<String, OpError> {
    // Options of the administrator's own: stored and shown, never interpreted.
    if key.starts_with("user.") && key.len() > "user.".len() {
        if key.contains(['=', '\n', ' ']) || value.contains('\n') {
            return Err(OpError::new(format!(
                "option : {key}: neither the name nor the value fits into a line"
            )));
        }
        return Ok(key.to_string());
    }
    let spec = resolve(key).ok_or_else(|| unknown(key))?;
    if spec.kind.is_cluster_wide() {
        return Err(OpError::new("Not a valid option for single volume"));
    }
    if spec.key == GRANULAR && volume.is_started() {
        return Err(OpError::new(
            " 'gluster volume set <VOLNAME> cluster.granular-entry-heal {enable, disable}' is not supported. Use \
             'gluster volume heal <VOLNAME> granular-entry-heal {enable, disable}' instead.",
        ));
    }
    let brick = volume.bricks.first().map_or("", |b| b.path.as_str());
    let context = ValidationContext {
        volume: &volume.name,
        replica_count: volume.replica_count,
        brick,
    };
    spec.validate(value, &context).map_err(OpError::new)?;
    if spec.key == "cluster.read-subvolume" && !volume.bricks.iter().any(|b| b.brick_id == value) {
        return Err(OpError::new(format!(
            "option read-subvolume {value}: '{value}' is not a valid volume name"
        )));
    }
    Ok(spec.key.to_string())
}

/// Stores a volume with changed options and lets the processes of all nodes follow.
pub(super) async fn apply(daemon: &Daemon, volume: &Volume) -> Result<(), OpError> {
    daemon.save(volume.clone()).await
}

/// Settings of the whole cluster.
async fn set_cluster(daemon: &Daemon, pairs: &[(String, String)], request: OldDict) -> OpResult {
    let (_, mut options) = daemon.cluster_options();
    for (key, value) in pairs {
        if key == "cluster.op-version" {
            return Err(OpError::new(op_version_refusal(value, daemon.node().op_version)));
        }
        let spec = find(key)
            .filter(|o| o.kind.is_cluster_wide())
            .ok_or_else(|| unknown(key))?;
        let context = ValidationContext {
            volume: "all",
            replica_count: 0,
            brick: "",
        };
        spec.validate(value, &context).map_err(OpError::new)?;
        options.retain(|(k, _)| k != key);
        options.push((key.clone(), value.clone()));
    }
    daemon.set_cluster_options(options).await?;
    Ok(request)
}

/// The op-version only ever goes up, and this release starts at its highest.
fn op_version_refusal(value: &str, current: u32) -> String {
    match value.parse::<u32>() {
        Ok(wanted) if wanted > MAX_OP_VERSION => {
            format!("Required op_version ({wanted}) is not supported. Max supported op version is {MAX_OP_VERSION}")
        }
        Ok(wanted) => format!(
            "Required op-version ({wanted}) should not be equal or lower than current cluster op-version ({current})."
        ),
        Err(_) => format!("{value} is not an op-version"),
    }
}

/// Removes options, or puts back what a new volume has.
pub(super) async fn reset(daemon: &Daemon, request: OldDict) -> OpResult {
    let _transaction = daemon.transaction(text(&request, "volname")?).await?;
    let key = text(&request, "key")?.to_string();
    if text(&request, "volname")? == "all" {
        return reset_cluster(daemon, &key, request).await;
    }
    let mut volume = named_volume(daemon, &request)?;
    require_quorum_for(daemon, &volume, Some(&key))?;
    if key == "all" {
        volume.options.clear();
        for (key, value) in NEW_VOLUME_OPTIONS.iter().rev().filter(|(key, _)| KEPT.contains(key)) {
            volume.set_option(key, value);
        }
    } else {
        let known = volume.options.iter().any(|(k, _)| *k == key);
        let name = match resolve(&key) {
            Some(spec) => spec.key.to_string(),
            None if known => key,
            None => return Err(no_such_option(&key)),
        };
        volume.options.retain(|(k, _)| *k != name);
        if let Some((key, value)) = NEW_VOLUME_OPTIONS.iter().find(|(k, _)| *k == name && KEPT.contains(k)) {
            volume.set_option(key, value);
        }
    }
    hooks::run_before(daemon, "reset", &volume.name, &[]).await;
    apply(daemon, &volume).await?;
    hooks::run_after(daemon, "reset", &volume.name, &[]);
    Ok(with_volume_id(request, &volume))
}

fn no_such_option(name: &str) -> OpError {
    let hint = did_you_mean(name).map_or_else(String::new, |near| format!("\nDid you mean {near}?"));
    OpError::new(format!("Option {name} does not exist{hint}"))
}

async fn reset_cluster(daemon: &Daemon, key: &str, request: OldDict) -> OpResult {
    let (_, mut options) = daemon.cluster_options();
    if key == "all" {
        options.clear();
    } else if find(key).is_some_and(|o| o.kind.is_cluster_wide()) {
        options.retain(|(k, _)| k != key);
    } else {
        return Err(no_such_option(key));
    }
    daemon.set_cluster_options(options).await?;
    Ok(request)
}

/// Shows options: as set, else the default, marked as GlusterFS marks it.
pub(super) fn get(daemon: &Daemon, mut request: OldDict) -> OpResult {
    let key = text(&request, "key")?.to_string();
    let shown = if text(&request, "volname")? == "all" {
        cluster_values(daemon, &key)?
    } else {
        volume_values(&named_volume(daemon, &request)?, &key)?
    };
    request.set_int("count", i128::try_from(shown.len()).unwrap_or(0));
    for (index, (key, value)) in shown.iter().enumerate() {
        request.set_str(format!("key{}", index + 1), key);
        request.set_str(format!("value{}", index + 1), value);
    }
    Ok(request)
}

fn volume_values(volume: &Volume, key: &str) -> Result<Vec<(String, String)>, OpError> {
    let shown = |spec: &OptionSpec| (spec.key.to_string(), value_text(volume, spec));
    if key == "all" {
        return Ok(option_table().map(shown).collect());
    }
    if let Some(spec) = resolve(key) {
        return Ok(vec![shown(spec)]);
    }
    let own = volume.options.iter().find(|(k, _)| k == key);
    let hint = || did_you_mean(key).map_or_else(|| format!("no option {key}"), |near| format!("Did you mean {near}?"));
    own.map(|pair| vec![pair.clone()]).ok_or_else(|| OpError::new(hint()))
}

fn value_text(volume: &Volume, spec: &OptionSpec) -> String {
    if let Some((_, value)) = volume.options.iter().find(|(k, _)| k == spec.key) {
        return value.clone();
    }
    // With an odd number of copies a majority always exists, and GlusterFS shows the quorum that is in effect.
    if spec.key == "cluster.quorum-type" && volume.replica_count % 2 == 1 {
        return "auto".to_string();
    }
    default_text(spec.default)
}

fn default_text(default: DefaultValue) -> String {
    match default {
        DefaultValue::Written(value) | DefaultValue::Daemon(value) => value.to_string(),
        DefaultValue::Own(value) => format!("{value} (DEFAULT)").trim_start().to_string(),
        DefaultValue::Unset => "(null) (DEFAULT)".to_string(),
    }
}

fn cluster_values(daemon: &Daemon, key: &str) -> Result<Vec<(String, String)>, OpError> {
    let (_, options) = daemon.cluster_options();
    let value = |spec: &OptionSpec| match options.iter().find(|(k, _)| k == spec.key) {
        Some((_, value)) => value.clone(),
        None => format!("{} (DEFAULT)", spec.default.value().unwrap_or("(null)")),
    };
    let mut all: Vec<(String, String)> = option_table()
        .filter(|o| o.kind.is_cluster_wide())
        .map(|o| (o.key.to_string(), value(o)))
        .collect();
    all.push(("cluster.op-version".into(), daemon.node().op_version.to_string()));
    all.push(("cluster.max-op-version".into(), MAX_OP_VERSION.to_string()));
    if key != "all" {
        all.retain(|(k, _)| k == key);
        if all.is_empty() {
            return Err(OpError::new(
                did_you_mean(key).map_or_else(String::new, |n| format!("Did you mean {n}?")),
            ));
        }
    }
    Ok(all)
}

/// `volume set help`.
fn help(mut request: OldDict) -> OldDict {
    let block = |spec: &OptionSpec| {
        let default = spec.default.value().unwrap_or("(null)");
        format!(
            "Option: {}\nDefault Value: {default}\nDescription: {}\n\n",
            spec.key, spec.about
        )
    };
    let text: String = option_table().map(block).collect();
    request.set_str("help-str", &text);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glusterd::model::VolumeStatus;
    use datapath::wire::Gfid;

    fn volume() -> Volume {
        Volume {
            name: "v1".into(),
            id: Gfid([1; 16]),
            status: VolumeStatus::Created,
            replica_count: 3,
            version: 1,
            username: String::new(),
            password: String::new(),
            bricks: Vec::new(),
            options: Vec::new(),
            extra: Vec::new(),
        }
    }

    #[test]
    fn unknown_options_are_refused_in_glusterfs_words() {
        let text = |key: &str| check_pair(&volume(), key, "1").unwrap_err().text;
        let want = "option : cluster.quorum-typ does not exist\nDid you mean cluster.quorum-type?";
        assert_eq!(text("cluster.quorum-typ"), want);
        assert!(text("user.").starts_with("option : user. does not exist"));
        assert_eq!(text("cluster.daemon-log-level"), "Not a valid option for single volume");
        assert_eq!(
            text("cluster.read-subvolume"),
            "option read-subvolume 1: '1' is not a valid volume name"
        );
    }

    #[test]
    fn names_without_a_dot_and_own_names_are_taken() {
        assert_eq!(
            check_pair(&volume(), "ping-timeout", "5").unwrap(),
            "network.ping-timeout"
        );
        assert_eq!(
            check_pair(&volume(), "user.backup", "on, nightly").unwrap(),
            "user.backup"
        );
        assert!(check_pair(&volume(), "user.a=b", "x").is_err());
    }

    #[test]
    fn the_way_of_recording_entry_heals_does_not_change_under_running_bricks() {
        let mut volume = volume();
        assert!(check_pair(&volume, GRANULAR, "off").is_ok());
        volume.status = VolumeStatus::Started;
        assert!(
            check_pair(&volume, GRANULAR, "off")
                .unwrap_err()
                .text
                .contains("is not supported")
        );
    }

    #[test]
    fn values_are_marked_as_glusterfs_marks_them() {
        let mut volume = volume();
        let shown = |volume: &Volume, key: &str| volume_values(volume, key).unwrap().remove(0).1;
        assert_eq!(shown(&volume, "cluster.eager-lock"), "on (DEFAULT)");
        assert_eq!(shown(&volume, "client.keepalive-time"), "20");
        assert_eq!(shown(&volume, "cluster.quorum-count"), "(null) (DEFAULT)");
        assert_eq!(shown(&volume, "quorum-type"), "auto");
        volume.replica_count = 6;
        assert_eq!(shown(&volume, "quorum-type"), "none (DEFAULT)");
        volume.set_option("cluster.eager-lock", "off");
        assert_eq!(shown(&volume, "eager-lock"), "off");
        assert_eq!(
            volume_values(&volume, "cluster.eager-lok").unwrap_err().text,
            "Did you mean cluster.eager-lock?"
        );
    }

    #[test]
    fn op_versions_only_go_up() {
        assert!(op_version_refusal("200000", 100_000).contains("Max supported op version is 100000"));
        assert!(op_version_refusal("5", 100_000).contains("equal or lower than current cluster op-version (100000)"));
    }
}
