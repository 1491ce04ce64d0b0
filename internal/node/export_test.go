package node

// Models lets tests build the models alone.
var Models = models
