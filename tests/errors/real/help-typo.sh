dltrain help Desne
