//! Settings and credentials of S3, from where AWS's tools take them: the environment, then its files.
//!
//! The environment wins over files, and a setting that names another source, such as `AWS_PROFILE`, is followed or is
//! an error: credentials are never taken silently from somewhere else than was said.

#[cfg(test)]
mod tests;

use crate::ini::{FILE_BYTES_MAX, Ini};
use crate::{Environment, Error};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

type Settings = BTreeMap<String, String>;

/// What an operator would set first.
pub(crate) const SET: &str =
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials (AWS_PROFILE names it)";

/// Where credentials come from.
pub(crate) enum Source {
    Keys {
        id: String,
        secret: String,
        token: Option<String>,
    },
    WebIdentity {
        token_file: String,
        role: String,
        session: Option<String>,
    },
    /// Of a container: a path at the address that Amazon ECS has for it.
    ContainerPath(String),
    /// Of a container: an address, and the file with the token for it.
    Container {
        address: String,
        token_file: String,
    },
    /// None were found: the machine may be one of Amazon's.
    Instance,
}

/// All that the environment and the files say about S3.
pub(crate) struct Aws {
    pub(crate) source: Source,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    /// Where credentials were looked for, in order.
    pub(crate) looked: Vec<String>,
    /// Whether instance metadata is ruled out.
    pub(crate) instance_disabled: bool,
    /// Where it is, if not at the usual address.
    pub(crate) instance_endpoint: Option<String>,
}

impl Aws {
    pub(crate) fn find(environment: &Environment<'_>) -> Result<Self, Error> {
        let get = |name: &str| environment(name).filter(|value| !value.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| get(name));
        let profile = Profile::read(environment)?;
        let mut looked = vec!["AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()];
        let source = match keys_of_environment(environment)? {
            Some(keys) => keys,
            None => match profile.credentials(&mut looked)? {
                Some(keys) => keys,
                None => of_platform(environment, &mut looked)?,
            },
        };
        Ok(Self {
            source,
            region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or_else(|| profile.setting("region")),
            endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]).or_else(|| profile.setting("endpoint_url")),
            looked,
            instance_endpoint: get("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            instance_disabled: get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }
}

fn keys_of_environment(environment: &Environment<'_>) -> Result<Option<Source>, Error> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(Some(Source::Keys { id, secret, token: get("AWS_SESSION_TOKEN") })),
        (None, None) => Ok(None),
        (id, _) => {
            let missing = if id.is_some() { "AWS_SECRET_ACCESS_KEY" } else { "AWS_ACCESS_KEY_ID" };
            Err(Error::Credentials { place: "the environment".to_owned(), why: format!("{missing} is not set") })
        }
    }
}

/// What Kubernetes, Amazon ECS and EKS put into a container's environment.
fn of_platform(environment: &Environment<'_>, looked: &mut Vec<String>) -> Result<Source, Error> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    looked.push("AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN".to_owned());
    if let Some(token_file) = get("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let role = get("AWS_ROLE_ARN").ok_or_else(|| Error::Credentials {
            place: "AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(),
            why: "AWS_ROLE_ARN is not set".to_owned(),
        })?;
        return Ok(Source::WebIdentity { token_file, role, session: get("AWS_ROLE_SESSION_NAME") });
    }
    looked.push("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI".to_owned());
    if let Some(path) = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Ok(Source::ContainerPath(path));
    }
    if let Some(address) = get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        let token_file = get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").ok_or_else(|| Error::Credentials {
            place: "AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(),
            why: "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is not set".to_owned(),
        })?;
        return Ok(Source::Container { address, token_file });
    }
    Ok(Source::Instance)
}

/// One profile, from both files.
struct Profile {
    name: String,
    credentials_file: Option<PathBuf>,
    config_file: Option<PathBuf>,
    credentials: Option<Settings>,
    config: Option<Settings>,
}

impl Profile {
    fn read(environment: &Environment<'_>) -> Result<Self, Error> {
        let get = |name: &str| environment(name).filter(|value| !value.is_empty());
        let asked = get("AWS_PROFILE").or_else(|| get("AWS_DEFAULT_PROFILE"));
        let home = get("HOME").map(PathBuf::from);
        let path = |variable: &str, usual: &str| {
            get(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(usual)))
        };
        let credentials_file = path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config_file = path("AWS_CONFIG_FILE", "config");
        let name = asked.clone().unwrap_or_else(|| "default".to_owned());
        let section = if name == "default" { name.clone() } else { format!("profile {name}") };
        let credentials = read(credentials_file.as_deref())?.section(&name).cloned();
        let config = read(config_file.as_deref())?.section(&section).cloned();
        let profile = Self { name, credentials_file, config_file, credentials, config };
        if asked.is_some() && profile.credentials.is_none() && profile.config.is_none() {
            let why = format!("neither {} has this profile", profile.places().join(" nor "));
            return Err(Error::Credentials { place: format!("AWS_PROFILE `{}`", profile.name), why });
        }
        Ok(profile)
    }

    /// Both files, and what is looked for in each.
    fn places(&self) -> Vec<String> {
        let files = [&self.credentials_file, &self.config_file];
        files.into_iter().flatten().map(|file| format!("{} [{}]", file.display(), self.name)).collect()
    }

    fn setting(&self, key: &str) -> Option<String> {
        let of = |settings: &Option<Settings>| settings.as_ref()?.get(key).cloned().filter(|value| !value.is_empty());
        of(&self.credentials).or_else(|| of(&self.config))
    }

    fn credentials(&self, looked: &mut Vec<String>) -> Result<Option<Source>, Error> {
        looked.extend(self.places());
        let wrong = |why: String| Error::Credentials { place: format!("profile `{}`", self.name), why };
        match (self.setting("aws_access_key_id"), self.setting("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                return Ok(Some(Source::Keys { id, secret, token: self.setting("aws_session_token") }));
            }
            (Some(_), None) => return Err(wrong("aws_secret_access_key is not set".to_owned())),
            (None, Some(_)) => return Err(wrong("aws_access_key_id is not set".to_owned())),
            (None, None) => {}
        }
        if let (Some(token_file), Some(role)) = (self.setting("web_identity_token_file"), self.setting("role_arn")) {
            let session = self.setting("role_session_name");
            return Ok(Some(Source::WebIdentity { token_file, role, session }));
        }
        let elsewhere = ["sso_session", "sso_start_url", "credential_process", "source_profile", "credential_source"];
        match elsewhere.into_iter().find(|key| self.setting(key).is_some()) {
            Some(key) => Err(wrong(format!(
                "it gets its credentials by `{key}`, which is not supported; put them into the environment: \
                 eval \"$(aws configure export-credentials --profile {} --format env)\"",
                self.name
            ))),
            None => Ok(None),
        }
    }
}

/// A file that is not there has no sections; one that cannot be read is an error.
fn read(path: Option<&Path>) -> Result<Ini, Error> {
    let Some(path) = path else { return Ok(Ini::default()) };
    let wrong = |why: String| Error::File { path: path.to_owned(), why };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Ini::default());
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ini::parse(&text).map_err(wrong)
}
