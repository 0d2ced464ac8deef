// Jobs on messages, of all queues.

import { h } from '../core/view.js';
import { get } from '../core/api.js';
import { card, heading, loading } from '../parts/bits.js';
import { jobTable } from '../parts/job_table.js';

export function open(page) {
    let jobs = null;
    return {
        title: 'Jobs',
        async load(signal) {
            jobs = await get('jobs', undefined, { signal });
        },
        view: () => [heading('Jobs'), card('Work on messages', {}, jobs === null ? loading(page) : jobTable(jobs, { changed: page.reload }))],
    };
}
