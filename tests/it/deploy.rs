//! The files of `deploy/`: manifests are built by Kustomize and checked against the schemas of the
//! programs that read them, their settings are checked by the built program, and every name in them
//! must exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::Scratch;

/// Versions of Kubernetes to check against. 1.29 is the first with native sidecars enabled.
const KUBERNETES: [&str; 3] = ["1.29.0", "1.33.0", "1.37.0"];

/// Environments that are incomplete: the route comes from elsewhere.
const INCOMPLETE: [&str; 3] = ["gateway/base", "gateway/mtls", "gateway/token"];

const ADMIN_PORT: u64 = 4101;

/// The manifests that Kustomize builds from a directory.
struct Built {
    /// The path below `deploy/kubernetes`.
    name: String,
    text: String,
    documents: Vec<Value>,
}

/// A pod of a manifest.
struct Pod<'a> {
    /// The name for error messages.
    owner: String,
    labels: &'a Value,
    spec: &'a Value,
}

type Environment = BTreeMap<String, String>;

// === Kubernetes ===

#[test]
fn every_kustomization_builds_valid_manifests() {
    let all = built();
    are_valid(&all);
    are_accepted(&all);
    have_no_privileges(&all);
    name_what_is_there(&all);
}

#[test]
fn the_schema_check_rejects_an_unknown_field() {
    let scratch = Scratch::new("deploy-refused");
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dat": {}});
    let file = scratch.file("map.json", &map.to_string());
    let mut command = tool("kubernetes-validate");
    fails(command.args(["-k", KUBERNETES[0], "--strict", &file]));
    let monitor = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
        "metadata": {"name": "a"}, "spec": {"selector": {}, "podMetricEndpoints": []}});
    let file = scratch.file("monitor.json", &monitor.to_string());
    fails(check_jsonschema("pod-monitor.schema.json").arg(file));
    let text = fs::read_to_string(deploy("ecs/task-definition.json")).unwrap();
    for (right, wrong) in [("stopTimeout", "stopTimeut"), ("HEALTHY", "HEALTY")] {
        let file = scratch.file("task.json", &text.replace(right, wrong));
        fails(python("ecs.py").arg(file));
    }
}

#[test]
fn every_component_is_part_of_a_tested_manifest() {
    let used: BTreeSet<PathBuf> = kustomizations("Kustomization")
        .iter()
        .flat_map(|directory| components(directory))
        .collect();
    let there: BTreeSet<PathBuf> = kustomizations("Component").into_iter().collect();
    assert_eq!(used, there);
}

#[test]
fn components_in_the_wrong_order_fail_to_build() {
    let right = ["sidecar", "token", "classic-sidecar"];
    builds(&right, true);
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let mut wrong = right;
        wrong.swap(first, second);
        builds(&wrong, false);
    }
}

/// Whether a Job with these components is built.
#[track_caller]
fn builds(components: &[&str], wanted: bool) {
    // Kustomize takes components by relative paths only.
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let scratch = Scratch::new_in(&target, "deploy-order");
    let job = deploy("kubernetes/examples/classic-job/import.yaml");
    scratch.file("import.yaml", &fs::read_to_string(job).unwrap());
    let paths = components
        .iter()
        .map(|name| format!("../../deploy/kubernetes/components/{name}"));
    let kustomization = json!({"resources": ["import.yaml"], "components": paths.collect::<Vec<_>>(),
        "configMapGenerator": [{"name": "countersign", "literals": ["A=b"]}]});
    scratch.file("kustomization.yaml", &kustomization.to_string());
    let output = kustomize().arg(&scratch.0).output().unwrap();
    assert_eq!(
        output.status.success(),
        wanted,
        "{components:?}: {output:?}"
    );
}

#[test]
fn the_sidecar_is_the_same_in_every_kind_of_workload() {
    let read = |name: &str, path: &str| {
        let text = fs::read_to_string(deploy("kubernetes/components/sidecar").join(name)).unwrap();
        let document = documents(&text).remove(0);
        document.pointer(path).unwrap().clone()
    };
    let workload = read("workload.yaml", "/spec/template/spec");
    let cron_job = read("cron-job.yaml", "/spec/jobTemplate/spec/template/spec");
    assert_eq!(cron_job, workload);
    assert_eq!(read("pod.yaml", "/spec"), workload);
}

// === elsewhere ===

#[test]
fn the_task_definition_is_valid_for_ecs_and_for_countersign() {
    let path = deploy("ecs/task-definition.json");
    succeeds(python("ecs.py").arg(&path));
    let task: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let containers = list(&task["containerDefinitions"]);
    for container in containers {
        let name = &container["name"];
        assert_eq!(container["user"], "65532:65532", "{name}");
        assert_eq!(container["readonlyRootFilesystem"], true, "{name}");
        let dropped = container.pointer("/linuxParameters/capabilities/drop");
        assert_eq!(dropped, Some(&json!(["ALL"])), "{name}");
    }
    let countersign = containers
        .iter()
        .find(|one| one["name"] == "countersign")
        .unwrap();
    let environment: Environment = list(&countersign["environment"])
        .iter()
        .map(|entry| (string(&entry["name"]), string(&entry["value"])))
        .collect();
    accepts("ECS", &environment, &[]);
    let grace = countersign["stopTimeout"].as_u64().unwrap();
    assert!(drain(&environment) < grace && grace <= 120, "{grace}");
    is_understood(&strings(&countersign["healthCheck"]["command"])[2..]);
}

/// Expands a value as Nomad does on a node with this address.
fn interpolated(value: &str) -> String {
    value.replace("${NOMAD_IP_admin}", NODE)
}

const NODE: &str = "192.0.2.7";

/// Debian has no package of Nomad, so the syntax is checked here, and the names by our own schema.
#[test]
fn the_nomad_job_is_valid_for_nomad_and_for_countersign() {
    let path = deploy("nomad/countersign.nomad.hcl");
    let said = succeeds(tool("hcl2tojson").arg(&path));
    let job = plain(&serde_json::from_str(&said).unwrap());
    let scratch = Scratch::new("deploy-nomad");
    let file = scratch.file("job.json", &job.to_string());
    validate("nomad.schema.json", &file);
    let wrong = job
        .to_string()
        .replace("readonly_rootfs", "read_only_rootfs");
    fails(check_jsonschema("nomad.schema.json").arg(scratch.file("wrong.json", &wrong)));
    let tasks = list(job.pointer("/job/0/app/group/0/app/task").unwrap());
    assert_eq!(tasks.len(), 3);
    for (name, task) in tasks.iter().flat_map(|task| task.as_object().unwrap()) {
        assert_eq!(task["user"], "65532:65532", "{name}");
        let config = &task["config"][0];
        assert_eq!(config["readonly_rootfs"], true, "{name}");
        assert_eq!(config["cap_drop"], json!(["all"]), "{name}");
        assert_eq!(
            config["security_opt"],
            json!(["no-new-privileges"]),
            "{name}"
        );
        match name.as_str() {
            "countersign" => {
                let set = task["env"][0].as_object().unwrap().iter();
                let set: Environment = set
                    .map(|(name, value)| (name.clone(), interpolated(&string(value))))
                    .collect();
                // Nomad's checks use the node's address.
                assert_eq!(set["COUNTERSIGN_GUARD__ALLOW_HOSTS"], NODE);
                accepts(name, &set, &[]);
                let grace = string(&task["kill_timeout"]);
                assert!(drain(&set) < seconds(&grace), "{grace}");
            }
            "countersign-started" => is_understood(&strings(&config["args"])),
            _ => assert_eq!(name, "app"),
        }
    }
}

#[test]
fn systemd_analyze_accepts_the_units() {
    let scratch = Scratch::new("deploy-systemd");
    let from = deploy("systemd");
    let text = fs::read_to_string(from.join("countersign.service")).unwrap();
    let installed = "/usr/local/bin/countersign";
    assert!(text.contains(&format!("ExecStart={installed} ")));
    let service = text.replace(installed, env!("CARGO_BIN_EXE_countersign"));
    let units = [
        scratch.file("countersign.service", &service),
        scratch.file(
            "countersign.socket",
            &fs::read_to_string(from.join("countersign.socket")).unwrap(),
        ),
    ];
    // Unchanged, and with every drop-in.
    verify(&units);
    for unit in ["countersign.service", "countersign.socket"] {
        let directory = format!("{unit}.d");
        fs::create_dir(scratch.0.join(&directory)).unwrap();
        for entry in fs::read_dir(from.join(&directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            fs::copy(&path, scratch.0.join(&directory).join(name)).unwrap();
        }
    }
    verify(&units);
    let wrong = scratch.file(
        "wrong.service",
        &service.replace("WatchdogSec", "WatchdogSecs"),
    );
    let said = systemd_verify(&[wrong]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("WatchdogSecs"), "it said nothing: {said:?}");
    let mut security = Command::new("systemd-analyze");
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold=11"];
    let said = succeeds(security.args(arguments).arg(&units[0]));
    println!("{}", said.lines().last().unwrap_or_default());
}

#[test]
fn countersign_accepts_the_configuration_of_the_units() {
    let scratch = Scratch::new("deploy-units");
    let file = deploy("systemd/countersign.toml").display().to_string();
    let mut environment = Environment::new();
    for entry in fs::read_dir(deploy("systemd/countersign.service.d")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let set = text
            .lines()
            .filter_map(|line| line.strip_prefix("Environment="));
        for line in set {
            let (name, value) = line.split_once('=').unwrap();
            let file = value.strip_prefix("%d/").expect("it is a credential");
            let loaded = format!("LoadCredential={file}:/etc/countersign/");
            assert!(text.contains(&loaded), "{line} without {loaded}");
            // systemd makes it readable only by the unit's user.
            environment.insert(name.to_owned(), secret(&scratch, file, 0o400));
        }
    }
    assert!(environment.contains_key("COUNTERSIGN_GUARD__TOKEN_FILE"));
    accepts("systemd", &environment, &["--config", &file]);
    let unit = fs::read_to_string(deploy("systemd/countersign.service")).unwrap();
    let stop = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="));
    assert!(drain(&environment) < seconds(stop.unwrap()));
}

#[test]
fn compose_files_are_valid_and_accepted_by_countersign() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/compose.yaml");
    let schema = ["--builtin-schema", "vendor.compose-spec"];
    succeeds(tool("check-jsonschema").args(schema).arg(&path));
    let scratch = Scratch::new("deploy-compose");
    let text = fs::read_to_string(&path).unwrap();
    let wrong = scratch.file("wrong.yaml", &text.replace("read_only:", "readonly:"));
    fails(tool("check-jsonschema").args(schema).arg(wrong));
    let token = secret(&scratch, "token", 0o600);
    let compose = documents(&text).remove(0);
    let mut seen = 0;
    for (name, service) in compose["services"].as_object().unwrap() {
        let of = |key| [&service[key], &service["<<"][key]].map(Value::clone);
        if !of("image").contains(&json!("countersign")) {
            continue;
        }
        for (key, wanted) in [
            ("read_only", json!(true)),
            ("cap_drop", json!(["ALL"])),
            ("security_opt", json!(["no-new-privileges:true"])),
        ] {
            assert!(of(key).contains(&wanted), "{name}: {key}");
        }
        let set = service["environment"].as_object().into_iter().flatten();
        let mut environment: Environment = set
            .map(|(name, value)| (name.clone(), string(value)))
            .collect();
        // `demo` has routes of its own.
        let target = "https://ID.appsync-api.eu-central-1.amazonaws.com/graphql";
        let route = "COUNTERSIGN_ROUTE__GRAPHQL__TARGET".to_owned();
        environment.entry(route).or_insert(target.to_owned());
        let file = environment.get_mut("COUNTERSIGN_GUARD__TOKEN_FILE");
        file.into_iter().for_each(|file| token.clone_into(file));
        accepts(name, &environment, &[]);
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} services were checked");
}

#[test]
fn the_check_of_manifests_rejects_an_unknown_setting() {
    let target = "https://ID.appsync-api.eu-central-1.amazonaws.com/graphql";
    let mut environment = Environment::new();
    environment.insert(
        "COUNTERSIGN_ROUTE__GRAPHQL__TARGET".to_owned(),
        target.to_owned(),
    );
    accepts("a target", &environment, &[]);
    environment.insert("COUNTERSIGN_DRAIN__DELAYS".to_owned(), "1s".to_owned());
    let output = config_check(&environment, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

// === pages ===

#[test]
fn every_kind_of_deployment_has_a_page_of_at_most_100_lines() {
    let mut pages = vec![deploy("README.md")];
    let table = fs::read_to_string(&pages[0]).unwrap();
    let mut ways: Vec<PathBuf> = ["kubernetes", "kubernetes/base", "kubernetes/gateway"]
        .iter()
        .chain(&[
            "kubernetes/examples",
            "ecs",
            "monitoring",
            "nomad",
            "systemd",
        ])
        .map(|way| deploy(way))
        .collect();
    ways.extend(kustomizations("Component"));
    for way in ways {
        let name = way.strip_prefix(deploy("")).unwrap().display().to_string();
        assert!(
            table.contains(&format!("]({name}/")),
            "deploy/README.md: no {name}"
        );
        pages.push(way.join("README.md"));
    }
    for page in pages {
        let shown = page.display();
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert!(text.lines().count() <= 100, "{shown} is too long");
        assert!(
            text.contains("**When to use it.**") || page == deploy("README.md"),
            "{shown}"
        );
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            let there = page.parent().unwrap().join(target);
            assert!(
                target.contains("://") || there.exists(),
                "{shown}: no {target}"
            );
        }
    }
}

// === checks of manifests ===

/// Checks manifests against three versions of Kubernetes.
fn are_valid(all: &[Built]) {
    let scratch = Scratch::new("deploy-valid");
    let (mut files, mut customs) = (Vec::new(), Vec::new());
    for Built {
        name,
        text,
        documents,
    } in all
    {
        files.push(scratch.file(&format!("{}.yaml", name.replace('/', "-")), text));
        for document in documents.iter().filter(|document| is_custom(document)) {
            let file = format!("{}-{}.json", name.replace('/', "-"), kind(document));
            customs.push((kind(document), scratch.file(&file, &document.to_string())));
        }
    }
    let documents = all.iter().flat_map(|built| &built.documents);
    let native = documents.filter(|document| !is_custom(document)).count();
    for version in KUBERNETES {
        let arguments = ["-k", version, "--strict", "--no-warn"];
        let mut command = tool("kubernetes-validate");
        let said = succeeds(command.args(arguments).args(&files));
        let passed = said.lines().filter(|line| line.contains(" passed for "));
        assert_eq!(passed.count(), native, "{version}:\n{said}");
    }
    assert!(!customs.is_empty());
    for (kind, file) in customs {
        assert_eq!(kind, "PodMonitor", "it needs a schema in tests/deploy");
        validate("pod-monitor.schema.json", &file);
    }
    println!(
        "{} kustomizations, {native} objects, Kubernetes {KUBERNETES:?}",
        all.len()
    );
}

/// Checks every environment in the manifests with countersign.
fn are_accepted(all: &[Built]) {
    let scratch = Scratch::new("deploy-environments");
    let mut seen = 0;
    let mut incomplete = Vec::new();
    for built in all {
        if built.find("ConfigMap", "countersign").is_none() {
            incomplete.push(built.name.clone());
            continue;
        }
        for pod in built.pods() {
            for container in pod.containers().filter(|one| one["name"] == "countersign") {
                let mut environment = built.environment(container, &pod.owner);
                pod.show_secrets(container, &mut environment, &scratch);
                accepts(&pod.owner, &environment, &[]);
                seen += 1;
                let admin = &environment["COUNTERSIGN_ADMIN"];
                assert_eq!(*admin, format!("0.0.0.0:{ADMIN_PORT}"), "{}", pod.owner);
                let grace = pod.spec["terminationGracePeriodSeconds"].as_u64();
                let drain = drain(&environment);
                assert!(
                    drain < grace.unwrap_or(30),
                    "{}: it is killed after {grace:?} s, and drains for {drain} s",
                    pod.owner
                );
            }
        }
    }
    assert_eq!(incomplete, INCOMPLETE);
    assert!(seen >= 9, "only {seen} containers were checked");
}

fn have_no_privileges(all: &[Built]) {
    for built in all {
        for pod in built.pods() {
            let owner = &pod.owner;
            assert_eq!(pod.spec["automountServiceAccountToken"], false, "{owner}");
            for key in ["hostNetwork", "hostPID", "hostIPC"] {
                assert_eq!(pod.spec[key], Value::Null, "{owner}");
            }
            for container in pod.containers() {
                let context = &container["securityContext"];
                let wanted = json!({
                    "runAsNonRoot": true,
                    "runAsUser": 65532,
                    "runAsGroup": 65532,
                    "readOnlyRootFilesystem": true,
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                });
                assert_eq!(*context, wanted, "{owner}: {}", container["name"]);
                for resource in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                    let value = container["resources"].pointer(resource);
                    assert!(value.is_some(), "{owner}: {resource} of {container}");
                }
            }
            for volume in list(&pod.spec["volumes"]) {
                // Octal 0440: no others, and the group only reads.
                assert_eq!(volume["secret"]["defaultMode"], 0o440, "{owner}");
                let group = &pod.spec["securityContext"]["fsGroup"];
                assert_eq!(*group, 65532, "{owner}");
            }
        }
    }
}

fn name_what_is_there(all: &[Built]) {
    let version = concat!("countersign:", env!("CARGO_PKG_VERSION"));
    for built in all {
        let pods = built.pods();
        for pod in &pods {
            pod.check_names(built, version);
        }
        for document in &built.documents {
            let name = format!(
                "{}: {} {}",
                built.name,
                kind(document),
                document["metadata"]["name"]
            );
            let spec = &document["spec"];
            let selector = match kind(document) {
                "Service" => json!({"matchLabels": spec["selector"]}),
                "PodDisruptionBudget" | "PodMonitor" | "Deployment" => spec["selector"].clone(),
                "NetworkPolicy" => spec["podSelector"].clone(),
                "HorizontalPodAutoscaler" => {
                    let target = &spec["scaleTargetRef"];
                    let wanted = target["name"].as_str().unwrap();
                    let scaled = built.find(target["kind"].as_str().unwrap(), wanted);
                    assert_eq!(
                        scaled.expect(&name)["spec"]["replicas"],
                        Value::Null,
                        "{name}"
                    );
                    continue;
                }
                _ => continue,
            };
            let selected: Vec<&Pod<'_>> = pods.iter().filter(|pod| pod.is_in(&selector)).collect();
            assert!(!selected.is_empty(), "{name} selects no pod");
            let ports = document
                .pointer("/spec/podMetricsEndpoints")
                .unwrap_or(&Value::Null);
            let names = list(ports).iter().map(|endpoint| &endpoint["port"]);
            let targets = list(&spec["ports"]).iter().map(|port| &port["targetPort"]);
            for port in names.chain(targets) {
                for pod in &selected {
                    let mut containers = pod.containers();
                    let is_there = containers.any(|one| port_of(one, port).is_some());
                    assert!(is_there, "{name}: no port {port} in {}", pod.owner);
                }
            }
        }
    }
}

// === impl Built ===

impl Built {
    fn find(&self, wanted: &str, name: &str) -> Option<&Value> {
        self.documents.iter().find(|document| {
            let found = document["metadata"]["name"].as_str().unwrap();
            kind(document) == wanted && without_hash(found) == name
        })
    }

    fn pods(&self) -> Vec<Pod<'_>> {
        let pods = self.documents.iter().filter_map(|document| {
            let template = match kind(document) {
                "Pod" => Some(document),
                "CronJob" => document.pointer("/spec/jobTemplate/spec/template"),
                _ => document.pointer("/spec/template"),
            }?;
            Some(Pod {
                owner: format!(
                    "{}: {} {}",
                    self.name,
                    kind(document),
                    document["metadata"]["name"]
                ),
                labels: &template["metadata"]["labels"],
                spec: &template["spec"],
            })
        });
        pods.collect()
    }

    /// Builds the environment as the kubelet does: the last map wins, `env` wins over all maps, and
    /// `$(NAME)` stands for a value that was set before.
    fn environment(&self, container: &Value, owner: &str) -> Environment {
        let mut found = Environment::new();
        for from in list(&container["envFrom"]) {
            let name = from["configMapRef"]["name"].as_str().unwrap();
            let mut maps = self.documents.iter().filter(|one| kind(one) == "ConfigMap");
            let map = maps.find(|map| map["metadata"]["name"] == name);
            let data = map.unwrap_or_else(|| panic!("{owner}: no ConfigMap {name}"));
            let data = data["data"].as_object().unwrap().iter();
            found.extend(data.map(|(name, value)| (name.clone(), string(value))));
        }
        for entry in list(&container["env"]) {
            let value = match entry["value"].as_str() {
                Some(value) => found.iter().fold(value.to_owned(), |value, (name, known)| {
                    value.replace(&format!("$({name})"), known)
                }),
                None => {
                    let field = &entry["valueFrom"]["fieldRef"]["fieldPath"];
                    assert_eq!(field, "metadata.namespace", "{owner}");
                    "orders".to_owned()
                }
            };
            assert!(!value.contains("$("), "{owner}: {value}");
            found.insert(string(&entry["name"]), value);
        }
        found
    }
}

// === impl Pod ===

impl<'a> Pod<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let first = list(&self.spec["initContainers"]).iter();
        first.chain(list(&self.spec["containers"]))
    }

    /// Creates the files of mounted Secrets with the mode of the volume, and rewrites settings to
    /// their paths.
    fn show_secrets(&self, container: &Value, environment: &mut Environment, scratch: &Scratch) {
        for mount in list(&container["volumeMounts"]) {
            let mut volumes = list(&self.spec["volumes"]).iter();
            let volume = volumes
                .find(|volume| volume["name"] == mount["name"])
                .unwrap();
            let mode = volume["secret"]["defaultMode"].as_u64().unwrap();
            let path = mount["mountPath"].as_str().unwrap();
            for value in environment.values_mut() {
                if let Some(file) = value.strip_prefix(path) {
                    *value = secret(scratch, file.trim_start_matches('/'), mode);
                }
            }
        }
    }

    fn is_in(&self, selector: &Value) -> bool {
        let labels = selector["matchLabels"].as_object();
        let mut labels = labels.into_iter().flatten();
        let mut expressions = list(&selector["matchExpressions"]).iter();
        labels.all(|(name, value)| self.labels[name] == *value)
            && expressions.all(|expression| {
                assert_eq!(expression["operator"], "Exists");
                self.labels
                    .get(expression["key"].as_str().unwrap())
                    .is_some()
            })
    }

    fn check_names(&self, built: &Built, version: &str) {
        let owner = &self.owner;
        let mut own = self.containers().filter(|one| one["name"] == "countersign");
        let countersign = own
            .next()
            .unwrap_or_else(|| panic!("{owner}: no countersign"));
        assert!(own.next().is_none(), "{owner}: it is there twice");
        let image = countersign["image"].as_str().unwrap();
        assert!(
            image.ends_with(version),
            "{owner}: {image}, this is {version}"
        );
        let is_native = list(&self.spec["initContainers"]).contains(countersign);
        let restarts = countersign["restartPolicy"] == "Always";
        assert_eq!(
            is_native, restarts,
            "{owner}: it would hold up the app for ever"
        );
        let admin = port_of(countersign, &json!("countersign-adm"));
        assert_eq!(admin, Some(ADMIN_PORT), "{owner}");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let get = &countersign[probe]["httpGet"];
            if !get.is_null() {
                assert_eq!(
                    port_of(countersign, &get["port"]),
                    Some(ADMIN_PORT),
                    "{owner}"
                );
                let path = get["path"].as_str().unwrap();
                assert!(
                    ["/startupz", "/livez", "/readyz"].contains(&path),
                    "{owner}: {path}"
                );
            }
        }
        if let Some(hook) = countersign.pointer("/lifecycle/postStart/exec/command") {
            is_understood(&strings(hook)[1..]);
        }
        let volumes = list(&self.spec["volumes"]);
        let mounts: Vec<&Value> = list(&countersign["volumeMounts"]).iter().collect();
        for mount in &mounts {
            let is_there = volumes.iter().any(|volume| volume["name"] == mount["name"]);
            assert!(is_there && mount["readOnly"] == true, "{owner}: {mount}");
        }
        for (name, value) in built.environment_if_complete(countersign, owner) {
            if value.starts_with("/run/") {
                let mut paths = mounts
                    .iter()
                    .map(|mount| mount["mountPath"].as_str().unwrap());
                let is_mounted = paths.any(|path| Path::new(&value).starts_with(path));
                assert!(is_mounted, "{owner}: {name}={value} is in no volume");
            }
        }
        if let Some(account) = self.spec["serviceAccountName"].as_str() {
            assert!(
                built.find("ServiceAccount", account).is_some(),
                "{owner}: {account}"
            );
        }
    }
}

impl Built {
    fn environment_if_complete(&self, container: &Value, owner: &str) -> Environment {
        match INCOMPLETE.contains(&self.name.as_str()) {
            true => Environment::new(),
            false => self.environment(container, owner),
        }
    }
}

// === tools ===

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(path)
}

fn tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/deploy")
        .join(path)
}

/// Returns a command of a package in `tests/deploy/requirements.txt`.
fn tool(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/deploy-venv/bin")
        .join(name);
    assert!(path.is_file(), "no {}: run tests/run", path.display());
    Command::new(path)
}

fn python(script: &str) -> Command {
    let mut command = tool("python");
    command.arg(tests(script));
    command
}

fn check_jsonschema(schema: &str) -> Command {
    let mut command = tool("check-jsonschema");
    command.arg("--schemafile").arg(tests(schema));
    command
}

fn validate(schema: &str, file: &str) {
    succeeds(check_jsonschema(schema).arg(file));
}

fn succeeds(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}{errors}");
    said
}

fn fails(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
}

fn systemd_verify(units: &[String]) -> Output {
    let mut command = Command::new("systemd-analyze");
    // The manual is where the program is installed.
    command.args(["verify", "--man=no"]).args(units);
    command
        .output()
        .expect("systemd-analyze is needed: run tests/run")
}

fn verify(units: &[String]) {
    let output = systemd_verify(units);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

/// Returns `kubectl kustomize` if it supports components, otherwise the program that `tests/run` installs.
fn kustomize() -> Command {
    let output = Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    let said = output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let major = said
        .split_once("Kustomize Version: v")
        .and_then(|(_, rest)| rest.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 5) {
        let mut command = Command::new("kubectl");
        command.arg("kustomize");
        return command;
    }
    let own =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/kustomize/usr/bin/kustomize");
    assert!(
        own.is_file(),
        "Kustomize 5 is needed (kubectl 1.27 has it), or {}, which tests/run installs; \
         `kubectl version --client` says: {said}",
        own.display()
    );
    let mut command = Command::new(own);
    command.arg("build");
    command
}

/// Returns the directories below `deploy/kubernetes` with a kustomization of this kind.
fn kustomizations(wanted: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![deploy("kubernetes")];
    while let Some(directory) = left.pop() {
        if let Ok(text) = fs::read_to_string(directory.join("kustomization.yaml"))
            && text.contains(&format!("\nkind: {wanted}\n"))
        {
            found.push(directory.clone());
        }
        let entries = fs::read_dir(&directory).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        left.extend(paths.filter(|path| path.is_dir()));
    }
    assert!(!found.is_empty(), "no {wanted}");
    found.sort();
    found
}

/// Returns the components of a kustomization, and their components.
fn components(directory: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(directory.join("kustomization.yaml")).unwrap();
    let kustomization = documents(&text).remove(0);
    let paths = list(&kustomization["components"]).iter();
    let paths = paths.map(|path| {
        directory
            .join(path.as_str().unwrap())
            .canonicalize()
            .unwrap()
    });
    paths
        .flat_map(|path| {
            let mut all = components(&path);
            all.push(path);
            all
        })
        .collect()
}

fn built() -> Vec<Built> {
    let directories = kustomizations("Kustomization");
    let built = directories.iter().map(|directory| {
        let text = succeeds(kustomize().arg(directory));
        let name = directory.strip_prefix(deploy("kubernetes")).unwrap();
        Built {
            name: name.display().to_string(),
            documents: documents(&text),
            text,
        }
    });
    built.collect()
}

// === countersign ===

/// Creates a file with what its name says: a certificate, its key, or a token.
fn secret(scratch: &Scratch, name: &str, mode: u64) -> String {
    static PAIR: LazyLock<(String, String)> = LazyLock::new(|| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    });
    let text = match name.rsplit('.').next() {
        Some("crt") => &PAIR.0,
        Some("key") => &PAIR.1,
        Some(_) | None => "0123456789abcdef0123456789abcdef\n",
    };
    let path = scratch.0.join(name);
    let _ = fs::remove_file(&path);
    let file = scratch.file(name, text);
    let mode = Permissions::from_mode(u32::try_from(mode).unwrap());
    fs::set_permissions(&path, mode).unwrap();
    file
}

fn config_check(environment: &Environment, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["config", "--check"])
        .args(arguments)
        .env_clear()
        .envs(environment)
        .output()
        .unwrap()
}

fn accepts(owner: &str, environment: &Environment, arguments: &[&str]) {
    let output = config_check(environment, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{owner}: {environment:#?}\n{said}");
}

/// Checks that `countersign wait` accepts the arguments. No daemon is running.
fn is_understood(arguments: &[String]) {
    let mut arguments = arguments.to_vec();
    let at = arguments
        .iter()
        .position(|argument| argument == "--timeout");
    arguments[at.expect("it has an end") + 1] = "1ms".to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(&arguments)
        .env_clear()
        .env("COUNTERSIGN_ADMIN", "127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
}

/// Returns the longest time from SIGTERM to the exit, in seconds.
fn drain(environment: &Environment) -> u64 {
    let read = |name, default| seconds(environment.get(name).map_or(default, String::as_str));
    // The defaults of config/default.toml.
    read("COUNTERSIGN_DRAIN__DELAY", "0s") + read("COUNTERSIGN_DRAIN__TIMEOUT", "25s")
}

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

// === values ===

fn documents(text: &str) -> Vec<Value> {
    let loaded = YamlLoader::load_from_str(text).unwrap();
    loaded.iter().map(json_of).collect()
}

fn json_of(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) => json!(text),
        Yaml::Integer(number) => json!(number),
        Yaml::Boolean(yes) => json!(yes),
        Yaml::Array(items) => items.iter().map(json_of).collect(),
        Yaml::Hash(pairs) => {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| (key.as_str().unwrap().to_owned(), json_of(value)))
                .collect()
        }
        Yaml::Null => Value::Null,
        Yaml::Real(_) | Yaml::Alias(_) | Yaml::BadValue => panic!("{yaml:?}"),
    }
}

/// Removes the quotes of strings and the marks of blocks from the output of hcl2tojson.
fn plain(value: &Value) -> Value {
    let text = |text: &str| {
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        bare.unwrap_or(text).to_owned()
    };
    match value {
        Value::String(quoted) => json!(text(quoted)),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(pairs) => {
            let pairs = pairs.iter().filter(|(key, _)| *key != "__is_block__");
            pairs
                .map(|(key, value)| (text(key), plain(value)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap()
}

/// Returns whether the resource belongs to an API group outside Kubernetes.
fn is_custom(document: &Value) -> bool {
    let group = document["apiVersion"].as_str().unwrap();
    let group = group.split_once('/').map_or("", |(group, _)| group);
    group.contains('.') && !group.ends_with(".k8s.io")
}

/// Removes the ten characters that Kustomize adds to the name of a generated map.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 10 => name,
        _ => name,
    }
}

fn port_of(container: &Value, port: &Value) -> Option<u64> {
    let ports = list(&container["ports"]).iter();
    let mut named = ports.filter(|known| known["name"] == *port || known["containerPort"] == *port);
    named.next()?["containerPort"].as_u64()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn strings(value: &Value) -> Vec<String> {
    list(value).iter().map(string).collect()
}
