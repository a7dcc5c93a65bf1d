//! Devices, requests to be let in, setup codes. Each decision and its audit record are one transaction.

use async_trait::async_trait;

use adjutant_domain::access::Role;
use adjutant_domain::device::{
    ApprovedVia, Device, NewToken, PairingAsk, PairingReason, PairingRequest, SetupCode,
};
use adjutant_domain::id::{DeviceId, OwnerId, PairingId};

use super::Stored;

/// What became of a wish to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A new request, in place of an older one of the same device if there was one.
    New(PairingRequest),
    /// The device asked for the same before.
    Again(PairingRequest),
}

impl Asked {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &PairingRequest {
        match self {
            Self::New(request) | Self::Again(request) => request,
        }
    }
}

/// Who lets a device in, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approver<'a> {
    /// Surface and principal, for the audit trail.
    pub by: &'a str,
    /// How.
    pub via: ApprovedVia,
}

/// Why a token is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenChange {
    /// The device has none that it could be told again.
    Issued,
    /// An operator wanted another.
    Rotated,
}

/// Devices. Positive answers are durable, unless a method says otherwise.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// One device.
    async fn device(&self, owner: &OwnerId, id: &DeviceId) -> Stored<Option<Device>>;
    /// All devices, last approved first.
    async fn devices(&self, owner: &OwnerId) -> Stored<Vec<Device>>;
    /// A request, whatever became of it, as long as it is remembered.
    async fn pairing(&self, owner: &OwnerId, id: PairingId) -> Stored<Option<PairingRequest>>;
    /// Requests that can be answered, oldest first.
    async fn open_pairings(&self, owner: &OwnerId) -> Stored<Vec<PairingRequest>>;
    /// Files a request, or gives the open one of this device that asks for the same. One that asks for something else
    /// takes the place of the older one.
    ///
    /// # Errors
    /// [`super::StoreError::Full`] when the source, or all sources together, have too many.
    async fn ask_pairing(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        reason: PairingReason,
    ) -> Stored<Asked>;
    /// Approves exactly what the request says: the device, its role, its scopes, and a token for the role.
    ///
    /// # Errors
    /// [`super::StoreError::NotFound`]; [`super::StoreError::Conflict`] when it was answered or has lapsed;
    /// [`super::StoreError::Full`] when there are too many devices.
    async fn approve_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device>;
    /// Refuses a request.
    ///
    /// # Errors
    /// As [`DeviceStore::approve_pairing`].
    async fn reject_pairing(
        &self,
        owner: &OwnerId,
        id: PairingId,
        by: &str,
    ) -> Stored<PairingRequest>;
    /// Counts a wrong code against every open request: a guess at one is a guess at all. Those that have had too many
    /// lapse. How many are still open.
    async fn wrong_pairing_code(&self, owner: &OwnerId) -> Stored<u64>;
    /// Lets a device in without a request. Open requests of the same device are answered by it.
    ///
    /// # Errors
    /// [`super::StoreError::Full`] when there are too many devices.
    async fn pair_device(
        &self,
        owner: &OwnerId,
        ask: &PairingAsk,
        approver: Approver<'_>,
        token: NewToken,
    ) -> Stored<Device>;
    /// Removes a device and its tokens.
    async fn remove_device(&self, owner: &OwnerId, id: &DeviceId, by: &str) -> Stored<bool>;
    /// Gives a device another name for people.
    ///
    /// # Errors
    /// [`super::StoreError::NotFound`].
    async fn rename_device(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        name: &str,
        by: &str,
    ) -> Stored<Device>;
    /// Replaces the token of a role the device has; the older one is void at once.
    ///
    /// # Errors
    /// [`super::StoreError::NotFound`] without device or role; [`super::StoreError::Conflict`] when the role was revoked.
    async fn put_device_token(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        token: NewToken,
        change: TokenChange,
        by: &str,
    ) -> Stored<Device>;
    /// Makes the token of a role void until the device is paired anew.
    ///
    /// # Errors
    /// [`super::StoreError::NotFound`] without device or role.
    async fn revoke_device_token(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        by: &str,
    ) -> Stored<Device>;
    /// Notes that a device connected. Not durable.
    async fn device_seen(
        &self,
        owner: &OwnerId,
        id: &DeviceId,
        role: Role,
        seen: Seen<'_>,
    ) -> Stored<()>;
    /// Stores a setup code, with its audit record.
    ///
    /// # Errors
    /// [`super::StoreError::Full`] when too many are open.
    async fn put_setup_code(&self, code: &SetupCode) -> Stored<()>;
    /// A setup code that can still be used.
    async fn setup_code(&self, owner: &OwnerId, digest: &str) -> Stored<Option<SetupCode>>;
    /// Uses a setup code and lets the device in with everything the code gives, `tokens` being for its roles. The code is
    /// void afterwards.
    ///
    /// # Errors
    /// [`super::StoreError::NotFound`] when it was used, has lapsed or never was.
    async fn redeem_setup_code(
        &self,
        owner: &OwnerId,
        digest: &str,
        ask: &PairingAsk,
        tokens: Vec<NewToken>,
    ) -> Stored<Device>;
}

/// How a device connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// From where.
    pub remote_ip: Option<&'a str>,
    /// Whether it showed its own token.
    pub with_token: bool,
}

/// Setup codes of one owner that wait to be used.
pub const SETUP_CODES_MAX: u32 = 20;
