/** In place of codecs for Zarr, which NiiVue reads and this page never gets: 1.3 MB. */

export default class NoCodec {}
