// Package tiered joins the store in RAM with those on disk to one store.
//
// A response is looked for in RAM, then on the one disk that its key belongs to: by
// weighted rendezvous of the key's sum over the directories, so that a directory more
// or less moves only its own share. What the disk has and is small is copied to RAM, by
// one reader for all who ask at the time; what is large is served from the disk, which
// means from the kernel's page cache when it is hot.
//
// A put goes to RAM and to the disk. The disk may refuse what it has not seen before,
// to keep what is asked for once from flushing it: a response that it refused, and that
// RAM then has a hit of, is offered to it again, once, in the background. RAM may refuse
// as well; what neither keeps is not stored.
//
// Of RAM and disk the higher Born wins, and neither keeps an older response that could
// come back when the other has dropped the newer one.
package tiered
