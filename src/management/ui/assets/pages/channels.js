// All channels of clients.

import { path } from '../core/api.js';
import { settings } from '../core/settings.js';
import { heading } from '../parts/bits.js';
import { CHANNEL_COLUMNS } from '../parts/channel_table.js';
import { pagedList } from '../parts/list.js';

export function open(page) {
    const list = pagedList({
        page,
        where: () => (settings.vhost ? `${path('vhosts', settings.vhost)}/channels` : 'channels'),
        columns: CHANNEL_COLUMNS,
        keyOf: (channel) => channel.name,
        caption: 'Channels',
        unit: ['channel', 'channels'],
        sort: 'name',
    });
    return { title: 'Channels', load: list.load, view: () => [heading('Channels'), list.view()] };
}
