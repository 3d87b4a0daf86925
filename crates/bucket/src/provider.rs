//! The client of each kind of storage, from address, options and environment. Its retries are off: fates are the
//! caller's.

use crate::aws::{self, Aws, Source};
use crate::http::Connector;
use crate::options::endpoint;
use crate::{Address, Environment, Error, Options, Provider};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What every kind of storage can do.
pub(crate) trait Client: ObjectStore + PaginatedListStore {}
impl<T: ObjectStore + PaginatedListStore> Client for T {}

/// A client, and where its credentials were looked for if they are asked of the machine's metadata with the first
/// request.
pub(crate) struct Opened {
    pub(crate) client: Arc<dyn Client>,
    /// Where the bucket of this name is: an endpoint, or whose service; with Azure, the account too.
    pub(crate) server: String,
    pub(crate) metadata: Option<String>,
}

pub(crate) fn open(address: &Address, options: &Options, environment: &Environment<'_>) -> Result<Opened, Error> {
    match address.provider() {
        Provider::S3 => s3(address, options, environment),
        Provider::Google => google(address, options, environment),
        Provider::Azure => azure(address, options, environment),
    }
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, backoff: BackoffConfig::default() }
}

fn connector(options: &Options, endpoint: Option<&str>) -> Result<(Connector, ClientOptions), Error> {
    let http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    Ok((Connector::new(options.connect_limit, !http)?, ClientOptions::new().with_allow_http(http)))
}

/// The endpoint of the options, or else of the environment.
fn endpoint_of(options: &Options, otherwise: Option<String>) -> Result<Option<String>, Error> {
    let given = options.endpoint.clone().or(otherwise);
    given.map(|given| endpoint(&given, options.http_allowed)).transpose()
}

fn s3(address: &Address, options: &Options, environment: &Environment<'_>) -> Result<Opened, Error> {
    let aws = Aws::find(environment)?;
    let endpoint = endpoint_of(options, aws.endpoint)?;
    let region = options.region.clone().or(aws.region).unwrap_or_else(|| "us-east-1".to_owned());
    let (connector, client) = connector(options, endpoint.as_deref())?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(address.bucket())
        .with_region(region)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(true)
        .with_retry(retries())
        .with_client_options(client)
        .with_http_connector(connector);
    // Only Amazon's machines have metadata that opens Amazon's buckets.
    let amazon = endpoint.as_deref().is_none_or(|endpoint| endpoint.ends_with(".amazonaws.com"));
    let server = endpoint.clone().unwrap_or_else(|| "s3.amazonaws.com".to_owned());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let mut metadata = None;
    builder = match aws.source {
        Source::Keys { id, secret, token } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            match token {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
        Source::WebIdentity { token_file, role, session } => {
            use object_store::aws::AmazonS3ConfigKey::{RoleArn, RoleSessionName, WebIdentityTokenFile};
            let builder = builder.with_config(WebIdentityTokenFile, token_file).with_config(RoleArn, role);
            match session {
                Some(session) => builder.with_config(RoleSessionName, session),
                None => builder,
            }
        }
        Source::ContainerPath(path) => {
            builder.with_config(object_store::aws::AmazonS3ConfigKey::ContainerCredentialsRelativeUri, path)
        }
        Source::Container { address, token_file } => {
            use object_store::aws::AmazonS3ConfigKey::{ContainerAuthorizationTokenFile, ContainerCredentialsFullUri};
            builder
                .with_config(ContainerCredentialsFullUri, address)
                .with_config(ContainerAuthorizationTokenFile, token_file)
        }
        Source::Instance if amazon && !aws.instance_disabled => {
            let at = aws.instance_endpoint.unwrap_or_else(|| "http://169.254.169.254".to_owned());
            metadata = Some(format!("{}, and the metadata of this machine ({at})", aws.looked.join(", ")));
            builder.with_metadata_endpoint(at)
        }
        Source::Instance => {
            return Err(Error::Missing {
                address: address.to_string(),
                looked: aws.looked.join(", "),
                set: aws::SET.to_owned(),
            });
        }
    };
    let client = builder.build().map_err(|error| settings(address, &error))?;
    Ok(Opened { client: Arc::new(client), server, metadata })
}

fn google(address: &Address, options: &Options, environment: &Environment<'_>) -> Result<Opened, Error> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    let endpoint = endpoint_of(options, None)?;
    let (connector, client) = connector(options, endpoint.as_deref())?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(address.bucket())
        .with_retry(retries())
        .with_client_options(client)
        .with_http_connector(connector);
    if let Some(endpoint) = &endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let usual = get("HOME").map(|home| format!("{home}/.config/gcloud/application_default_credentials.json"));
    let mut metadata = None;
    builder = if let Some(file) = get("GOOGLE_SERVICE_ACCOUNT").or_else(|| get("GOOGLE_SERVICE_ACCOUNT_PATH")) {
        builder.with_service_account_path(file)
    } else if let Some(key) = get("GOOGLE_SERVICE_ACCOUNT_KEY") {
        builder.with_service_account_key(key)
    } else if let Some(file) = get("GOOGLE_APPLICATION_CREDENTIALS") {
        builder.with_application_credentials(file)
    } else if let Some(file) = usual.clone().filter(|file| Path::new(file).exists()) {
        builder.with_application_credentials(file)
    } else {
        let looked = format!(
            "GOOGLE_SERVICE_ACCOUNT, GOOGLE_SERVICE_ACCOUNT_KEY, GOOGLE_APPLICATION_CREDENTIALS, {}",
            usual.as_deref().unwrap_or("~/.config/gcloud/application_default_credentials.json")
        );
        if endpoint.is_some() {
            let set = "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account".to_owned();
            return Err(Error::Missing { address: address.to_string(), looked, set });
        }
        metadata = Some(format!("{looked}, and the metadata of this machine (metadata.google.internal)"));
        builder
    };
    let client = builder.build().map_err(|error| settings(address, &error))?;
    let server = endpoint.unwrap_or_else(|| "storage.googleapis.com".to_owned());
    Ok(Opened { client: Arc::new(client), server, metadata })
}

/// Variables that Azure's client takes as they are; its account is one of them.
const AZURE: [&str; 24] = [
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_TENANT_ID",
    "AZURE_STORAGE_AUTHORITY_HOST",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT",
    "AZURE_IDENTITY_ENDPOINT",
    "AZURE_OBJECT_ID",
    "AZURE_MSI_RESOURCE_ID",
    "AZURE_USE_AZURE_CLI",
    "AZURE_CREDENTIAL_TYPE",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
];

/// Those of them that are credentials by themselves.
const AZURE_CREDENTIALS: [&str; 9] = [
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
];

fn azure(address: &Address, options: &Options, environment: &Environment<'_>) -> Result<Opened, Error> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    let endpoint = endpoint_of(options, get("AZURE_STORAGE_ENDPOINT").or_else(|| get("AZURE_ENDPOINT")))?;
    let emulated = get("AZURE_STORAGE_USE_EMULATOR").is_some_and(|value| value != "false");
    let account = get("AZURE_STORAGE_ACCOUNT_NAME").or_else(|| get("AZURE_STORAGE_ACCOUNT"));
    if account.is_none() && !emulated {
        return Err(Error::Missing {
            address: address.to_string(),
            looked: "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT".to_owned(),
            set:
                "AZURE_STORAGE_ACCOUNT_NAME to the storage account, and AZURE_STORAGE_ACCOUNT_KEY or other credentials"
                    .to_owned(),
        });
    }
    let (connector, client) = connector(options, endpoint.as_deref())?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(address.bucket())
        .with_retry(retries())
        .with_client_options(client)
        .with_http_connector(connector);
    let server = format!(
        "{} {}",
        endpoint.as_deref().unwrap_or(if emulated { "emulator" } else { "blob.core.windows.net" }),
        account.as_deref().unwrap_or_default()
    );
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    for name in AZURE {
        let key = name.to_ascii_lowercase().parse::<AzureConfigKey>();
        if let (Some(value), Ok(key)) = (get(name), key) {
            builder = builder.with_config(key, value);
        }
    }
    let credentials = AZURE_CREDENTIALS.iter().any(|name| get(name).is_some());
    let metadata =
        (!credentials && !emulated).then(|| format!("{}, and this machine's identity", AZURE_CREDENTIALS.join(", ")));
    let client = builder.build().map_err(|error| settings(address, &error))?;
    Ok(Opened { client: Arc::new(client), server, metadata })
}

fn settings(address: &Address, error: &object_store::Error) -> Error {
    Error::Settings { address: address.to_string(), why: error.to_string() }
}
