//! How the long-lived shapes of the program are run.

use adjutant_domain::id::Need;

/// How a gateway is run. Absent means as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Port.
    pub port: Option<u16>,
    /// Address.
    pub bind: Option<String>,
    /// Workers in the same process.
    pub workers: Option<u16>,
    /// Where the PostgreSQL database is.
    pub database_url: Option<String>,
}

/// How a worker is run. Absent means as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Runs at the same time.
    pub parallel: Option<u16>,
    /// What it has for runs that need it.
    pub offers: Vec<Need>,
    /// Where the PostgreSQL database is.
    pub database_url: Option<String>,
}
