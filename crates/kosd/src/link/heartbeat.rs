//! What a device says in a heartbeat.

use core::time::Duration;
use std::{collections::BTreeMap, path::Path, sync::Arc};

use kos_base::{Capability, Channel};
use kos_identity::enrolment::message::{self, RoleProfile};
use kos_klp::body::{
    CHECKS_MAX, DetailText, HealthCheck as Reported, Heartbeat, NameText, Version, VersionText,
};

use crate::{
    clock::Clock,
    health::{ErrorCounter, Finding, HealthCheck, Observer, Verdict, builtin},
    modules::Watch,
};

/// Looks at the machine before each heartbeat.
pub(crate) struct Reporter {
    observer: Observer,
    clock: Clock,
    checks: Vec<(NameText, HealthCheck)>,
    versions: Vec<Version>,
    errors: Arc<ErrorCounter>,
    config_digest: [u8; 32],
    boot_id: [u8; 16],
    watch: Watch,
}

impl Reporter {
    /// A reporter of the checks that `role` names and of those that the configuration has besides.
    pub(crate) fn new(
        observer: Observer,
        clock: Clock,
        errors: Arc<ErrorCounter>,
        config_digest: [u8; 32],
        checks: Vec<(NameText, HealthCheck)>,
        watch: Watch,
    ) -> Self {
        let version = |component, version: &str| Version {
            component: NameText::cut(component),
            version: VersionText::cut(version),
        };
        let mut versions = vec![version("kosd", env!("CARGO_PKG_VERSION"))];
        versions.extend(observer.kernel().map(|kernel| version("linux", &kernel)));
        let boot_id = observer.boot_id().unwrap_or_default();
        Self { observer, clock, checks, versions, errors, config_digest, boot_id, watch }
    }

    /// Looks once. Also says which checks failed, in words.
    pub(super) async fn look(
        &mut self,
        channel: Channel,
        interval: Option<Duration>,
    ) -> (Heartbeat, Vec<String>) {
        let vitals = self.observer.look();
        let mut checks = Vec::with_capacity(self.checks.len());
        for (name, check) in &self.checks {
            let finding = check.look(self.observer.host(), &self.clock).await;
            checks.extend(reported(name, check, &finding));
        }
        let failed = checks.iter().filter(|check| !check.passed);
        let failed = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
        let heartbeat = Heartbeat {
            cpu_percent: vitals.cpu_percent,
            ram_used_bytes: vitals.ram_used_bytes,
            ram_total_bytes: vitals.ram_total_bytes,
            uptime_seconds: vitals.uptime_s,
            errors: self.errors.get(),
            checks,
            versions: self.versions.clone(),
            config_digest: self.config_digest,
            boot_id: self.boot_id,
            channel,
            interval_seconds: interval.and_then(|interval| u32::try_from(interval.as_secs()).ok()),
            statements: Vec::new(),
            modules: Some(self.watch.report(&self.clock)),
        };
        (heartbeat, failed)
    }

    /// The authority knows of this many errors.
    pub(super) fn told(&self, errors: u32) {
        self.errors.told(errors);
    }
}

/// What is told about a check. What cannot be told did not pass, but for the clock before the authority's time is known.
fn reported(name: &NameText, check: &HealthCheck, finding: &Finding) -> Option<Reported> {
    if matches!(check, HealthCheck::Clock { .. }) && finding.verdict == Verdict::Unknown {
        return None;
    }
    let passed = finding.verdict == Verdict::Good;
    Some(Reported { name: name.clone(), passed, detail: DetailText::cut(&finding.seen) })
}

/// The checks of a role profile, each as the configuration has it, and those that only the configuration has.
pub(crate) fn checks(
    role: &RoleProfile,
    configured: &BTreeMap<Capability, HealthCheck>,
    state: &Path,
) -> Vec<(NameText, HealthCheck)> {
    let own = |check: &message::HealthCheck| {
        let name = check.as_str();
        let replaced = configured.iter().find(|(configured, _)| configured.as_ref() == name);
        let check = replaced.map_or_else(|| builtin(*check, state), |(_, check)| check.clone());
        (NameText::cut(name), check)
    };
    let named = |name: &Capability| role.health_checks.iter().any(|check| check.as_str() == name.as_ref());
    let others = configured.iter().filter(|(name, _)| !named(name));
    let others = others.map(|(name, check)| (NameText::cut(name.as_ref()), check.clone()));
    let all = role.health_checks.iter().map(own).chain(others);
    all.take(usize::try_from(CHECKS_MAX).unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use kos_base::{Role, SecurityProfile};

    use super::*;

    fn role(health_checks: &[message::HealthCheck]) -> RoleProfile {
        RoleProfile {
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            channel: Channel::Stable,
            carriers: Vec::new(),
            health_checks: health_checks.to_vec(),
            heartbeat_s: 60,
        }
    }

    #[test]
    fn the_configuration_replaces_checks_of_the_role_profile_and_adds_its_own() {
        let configured: BTreeMap<Capability, HealthCheck> =
            [("web", "socket /run/web.sock"), ("disk", "disk-free /data 20")]
                .map(|(name, check)| (name.parse().unwrap(), check.parse().unwrap()))
                .into();
        let checks = checks(&role(message::HealthCheck::LEAST), &configured, Path::new("/state"));
        let written: Vec<_> = checks.iter().map(|(name, check)| format!("{name}: {check}")).collect();
        assert_eq!(written, ["disk: disk-free /data 20", "clock: clock 60", "web: socket /run/web.sock"]);
    }

    #[tokio::test]
    async fn what_cannot_be_told_did_not_pass_but_for_a_clock_that_nobody_has_set() {
        let host = tempfile::tempdir().unwrap();
        let checks = checks(&role(message::HealthCheck::ALL), &BTreeMap::new(), host.path());
        let clock = Clock::start(None);
        let mut reporter = Reporter::new(
            Observer::new(host.path().to_owned()),
            clock.clone(),
            Arc::default(),
            [0; 32],
            checks,
            Watch::new(host.path().to_owned(), host.path().to_owned()),
        );
        let (heartbeat, failed) = reporter.look(Channel::Beta, None).await;
        let told: Vec<_> = heartbeat.checks.iter().map(|check| (check.name.as_str(), check.passed)).collect();
        assert_eq!(told[1..], [("memory", false), ("load", false)]);
        assert_eq!((told[0].0, heartbeat.channel), ("disk", Channel::Beta));
        assert!(failed.contains(&"memory: the kernel does not tell".to_owned()), "{failed:?}");
        clock.learn(clock.now());
        assert_eq!(reporter.look(Channel::Beta, None).await.0.checks.len(), 4);
    }
}
