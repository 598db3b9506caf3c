//! Which cores get a shard: resolves `--cores`.

use crate::server::config::values::Cores;
use crate::server::error::ServerError;

/// The cores that this process may use (its affinity mask), ascending.
pub fn available() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// The cores that `wanted` selects from those `available`; never empty.
///
/// # Errors
/// It names a core that is not available, more cores than there are, or none.
pub fn choose(wanted: &Cores, available: &[usize]) -> Result<Vec<usize>, ServerError> {
    let wrong = |reason: String| Err(ServerError::wrong("cores", reason));
    let advice = format!("this process may use {}", format_cores(available));
    let chosen = match wanted {
        Cores::All => available.to_vec(),
        Cores::Count(0) => return wrong("give at least 1".to_owned()),
        Cores::Count(count) if *count > available.len() => {
            return wrong(format!("{count} cores were requested; {advice} ({} of them)", available.len()));
        }
        Cores::Count(count) => available[..*count].to_vec(),
        Cores::List(list) => match list.iter().find(|core| !available.contains(core)) {
            Some(core) => return wrong(format!("core {core} was requested; {advice}")),
            None => list.clone(),
        },
    };
    match chosen.is_empty() {
        true => wrong(
            "the system does not say which cores this process may use; name them, such as --cores 0,".into(),
        ),
        false => Ok(chosen),
    }
}

/// The cores as `--cores` takes them: `0-3,6`.
pub fn format_cores(cores: &[usize]) -> String {
    let runs = cores.chunk_by(|a, b| *b == a + 1).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_chosen_from_the_available_ones() {
        let available = [1, 2, 3, 6];
        let chosen =
            |text: &str| choose(&text.parse().expect("cores"), &available).map_err(|error| error.to_string());
        assert_eq!(chosen("all"), Ok(vec![1, 2, 3, 6]));
        assert_eq!(chosen("2"), Ok(vec![1, 2]));
        assert_eq!(chosen("2,"), Ok(vec![2]));
        assert_eq!(chosen("2-3,6"), Ok(vec![2, 3, 6]));
        for wrong in ["0", "5", "0,", "1-4"] {
            assert!(chosen(wrong).is_err(), "{wrong} was chosen from {available:?}");
        }
        assert!(chosen("0,").expect_err("0 is not available").contains("may use 1-3,6"));
        assert!(choose(&Cores::All, &[]).is_err());
    }
}
