"""Which handler does which command: the session's half of the table in ``wire.imap.table``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from postroom.session.imap import (
    authenticate,
    basics,
    copy,
    fetch,
    listing,
    mailboxes,
    multisearch,
    quota,
    search,
    select,
    sort,
    store,
)
from postroom.wire.imap import commands

if TYPE_CHECKING:
    from postroom.session.imap.session import Handler

HANDLERS: Final[dict[type[Any], Handler]] = {
    commands.Authenticate: authenticate.authenticate,
    commands.Capability: basics.capability,
    commands.Check: basics.noop,
    commands.Close: select.close,
    commands.Compress: basics.compress,
    commands.Copy: copy.copy,
    commands.Create: mailboxes.create,
    commands.Delete: mailboxes.delete,
    commands.Enable: basics.enable,
    commands.Examine: select.select,
    commands.Expunge: select.expunge,
    commands.Fetch: fetch.fetch,
    commands.GetQuota: quota.get_quota,
    commands.GetQuotaRoot: quota.get_quota_root,
    commands.Id: basics.identify,
    commands.Idle: basics.idle,
    commands.List: listing.list_mailboxes,
    commands.Login: authenticate.login,
    commands.Logout: basics.logout,
    commands.Lsub: listing.lsub,
    commands.Move: copy.move,
    commands.MultiSearch: multisearch.multi_search,
    commands.Namespace: basics.namespace,
    commands.Noop: basics.noop,
    commands.Rename: mailboxes.rename,
    commands.Search: search.search,
    commands.Select: select.select,
    commands.Sort: sort.sort,
    commands.StartTls: basics.starttls,
    commands.Status: listing.status,
    commands.Store: store.store,
    commands.Subscribe: mailboxes.subscribe,
    commands.UidExpunge: select.expunge,
    commands.Thread: sort.thread,
    commands.Unauthenticate: authenticate.unauthenticate,
    commands.Unselect: select.unselect,
    commands.Unsubscribe: mailboxes.subscribe,
}
